"""The back office of routing: routes can be edited, evidence is read-only."""

from routing.admin import (
    evidence,
    health,
    providers,
    rates,
    retry_rules,
    routes,
    statistics,
)

__all__ = [
    "evidence",
    "health",
    "providers",
    "rates",
    "retry_rules",
    "routes",
    "statistics",
]
