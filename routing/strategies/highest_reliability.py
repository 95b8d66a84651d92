"""HighestReliability: the provider with the best delivery rate."""

from __future__ import annotations

from collections.abc import Sequence

from routing.strategies.base import NO_CONTEXT, Candidate, Context

# The share of exploring messages that goes to another provider: otherwise the estimate
# for an unused provider would never be corrected.
EXPLORATION = 0.03
# How much better than the first another provider's delivery rate must be, so that
# traffic does not swing between equals; with a margin for rounding errors.
HYSTERESIS = 0.01 + 1e-9


def highest_reliability(
    candidates: Sequence[Candidate], context: Context = NO_CONTEXT
) -> Candidate | None:
    """The eligible candidate with the best delivery rate, or one to explore.

    1. Only candidates with enough evidence are compared; without any, the route's order
       decides.
    2. The first eligible one in the route wins unless another is better by more than a
       percentage point.
    3. Of messages that may explore, a random few go to another one.
    """
    eligible = [each for each in candidates if each.is_eligible]
    if not eligible:
        return None
    best = _best(eligible, context.min_evidence)
    others = [each for each in eligible if each is not best]
    if others and context.may_explore and context.draw < EXPLORATION:
        return others[_index(context.draw / EXPLORATION, len(others))]
    return best


def _best(eligible: Sequence[Candidate], min_evidence: float) -> Candidate:
    """The candidate with the best evidence; of equals, the first in the route."""
    first = eligible[0]
    rated = [
        each
        for each in eligible
        if each.quality is not None and each.evidence >= min_evidence
    ]
    if not rated:
        return first
    best = max(rated, key=_rate)
    if rated[0] is first and _rate(best) - _rate(first) <= HYSTERESIS:
        return first
    return best


def _rate(candidate: Candidate) -> float:
    return candidate.quality or 0.0


def _index(fraction: float, count: int) -> int:
    """Map the rest of a draw, uniform in [0, 1), to one of `count` positions."""
    return min(max(int(fraction * count), 0), count - 1)
