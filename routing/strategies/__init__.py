"""The routing strategies, by their enum member."""

from __future__ import annotations

from routing.strategies.base import (
    NO_CONTEXT,
    Candidate,
    Context,
    Strategy,
    Verdict,
)
from routing.strategies.fallback import fallback
from routing.strategies.highest_reliability import highest_reliability
from routing.strategies.least_cost import least_cost
from routing.strategies.primary import primary
from routing.strategies.round_robin import round_robin
from routing.vocabulary import RoutingStrategy

__all__ = ["NO_CONTEXT", "STRATEGIES", "Candidate", "Context", "Strategy", "Verdict"]

STRATEGIES: dict[RoutingStrategy, Strategy] = {
    RoutingStrategy.PRIMARY: primary,
    RoutingStrategy.FALLBACK: fallback,
    RoutingStrategy.ROUND_ROBIN: round_robin,
    RoutingStrategy.LEAST_COST: least_cost,
    RoutingStrategy.HIGHEST_RELIABILITY: highest_reliability,
}
