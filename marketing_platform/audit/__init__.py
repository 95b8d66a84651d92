"""The audit log: who did what, by which way in, and what it changed."""
