"""Logging in: how often one may guess a password, and what is kept of it."""
