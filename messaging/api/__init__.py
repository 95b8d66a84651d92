"""The REST API of messaging, with the conventions of `routing.api`."""
