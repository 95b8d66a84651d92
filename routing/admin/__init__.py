"""The back office of routing: routes are edited, what happened is only read."""

from routing.admin import evidence, health, rates, routes, statistics

__all__ = ["evidence", "health", "rates", "routes", "statistics"]
