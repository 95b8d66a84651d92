"""Fallback: the route's first provider that may be used now."""

from __future__ import annotations

from collections.abc import Sequence

from routing.strategies.base import NO_CONTEXT, Candidate, Context


def fallback(
    candidates: Sequence[Candidate], context: Context = NO_CONTEXT
) -> Candidate | None:
    """The first eligible candidate, in the route's order."""
    return next(filter(lambda candidate: candidate.is_eligible, candidates), None)
