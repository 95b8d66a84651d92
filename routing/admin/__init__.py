"""The back office of routing: routes can be edited, evidence is read-only."""

from routing.admin import evidence, health, rates, retry_rules, routes, statistics

__all__ = ["evidence", "health", "rates", "retry_rules", "routes", "statistics"]
