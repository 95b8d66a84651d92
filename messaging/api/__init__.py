"""The REST API of messaging; its conventions are those of `routing.api`."""
