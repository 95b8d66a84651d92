"""LeastCost: the cheapest provider for this message."""

from __future__ import annotations

from collections.abc import Sequence

from routing.strategies.base import NO_CONTEXT, Candidate, Context, fallback


def least_cost(
    candidates: Sequence[Candidate], context: Context = NO_CONTEXT
) -> Candidate | None:
    """The cheapest eligible candidate; of equal prices, the first in the route.

    A candidate without a known price is chosen only if no eligible one has a price;
    then the route's order decides.
    """
    priced = [
        (each.price, each)
        for each in candidates
        if each.is_eligible and each.price is not None
    ]
    if not priced:
        return fallback(candidates)
    _, cheapest = min(priced, key=lambda entry: entry[0])  # of equals, the first
    return cheapest
