"""Primary: the route's first provider, and no other."""

from __future__ import annotations

from collections.abc import Sequence

from routing.strategies.base import NO_CONTEXT, Candidate, Context


def primary(
    candidates: Sequence[Candidate], context: Context = NO_CONTEXT
) -> Candidate | None:
    """The first candidate, if it may be used now."""
    first = candidates[0]
    return first if first.is_eligible else None
