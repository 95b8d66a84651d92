"""The REST API of routing, and the conventions of every endpoint (docs/api.md)."""
