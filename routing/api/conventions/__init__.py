"""Conventions of all endpoints: input, output, names and errors."""
