"""How the back office writes times: shortly, to the second, and in one order."""
