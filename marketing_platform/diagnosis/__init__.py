"""Is this installation healthy? Checks for load balancers and for people."""
