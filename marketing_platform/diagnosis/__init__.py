"""Is this installation well? One set of checks for load balancers and for people."""
