"""The routing strategies, by their enum member, and what they have in common."""

from __future__ import annotations

from routing.strategies.base import (
    NO_CONTEXT,
    Candidate,
    Context,
    Strategy,
    Verdict,
    fallback,
    primary,
)
from routing.strategies.highest_reliability import highest_reliability
from routing.strategies.least_cost import least_cost
from routing.strategies.round_robin import round_robin
from routing.vocabulary import RoutingStrategy

__all__ = [
    "IN_ORDER",
    "NO_CONTEXT",
    "STEADY",
    "STRATEGIES",
    "TAKES_TURNS",
    "Candidate",
    "Context",
    "Strategy",
    "Verdict",
]

STRATEGIES: dict[RoutingStrategy, Strategy] = {
    RoutingStrategy.PRIMARY: primary,
    RoutingStrategy.FALLBACK: fallback,
    RoutingStrategy.ROUND_ROBIN: round_robin,
    RoutingStrategy.LEAST_COST: least_cost,
    RoutingStrategy.HIGHEST_RELIABILITY: highest_reliability,
}

# These go by the route's order and do not compare providers: without fallback, a route
# uses its first provider only.
IN_ORDER = frozenset({RoutingStrategy.PRIMARY, RoutingStrategy.FALLBACK})
# These need `Context.turn`, which costs a row in the database for each route.
TAKES_TURNS = frozenset({RoutingStrategy.ROUND_ROBIN})
# These need neither turns nor chance, and no evidence: one decision serves for all
# messages that are alike.
STEADY = frozenset({*IN_ORDER, RoutingStrategy.LEAST_COST})
