"""Who did what, by which door, and what it changed."""
