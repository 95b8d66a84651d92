"""RoundRobin: each provider in turn, as often as its weight says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from routing.strategies.base import NO_CONTEXT, Candidate, Context, fallback

MAX_LENGTH = 1000  # turns of a sequence; heavier weights are scaled down to about this


def round_robin(
    candidates: Sequence[Candidate], context: Context = NO_CONTEXT
) -> Candidate | None:
    """The eligible candidate whose turn it is.

    The turn comes from a counter that all workers share, so the shares are exact across
    processes: any `sum(weights)` turns in a row give each candidate exactly its weight.
    When a candidate drops out or returns, the sequence of the others starts where the
    counter is, so no share is off by more than a part of one sequence. A candidate of
    weight 0 is used only if no other may be.
    """
    eligible = [each for each in candidates if each.is_eligible and each.weight > 0]
    if not eligible:
        return fallback(candidates)
    sequence = smooth_sequence(tuple(each.weight for each in eligible))
    return eligible[sequence[context.turn % len(sequence)]]


@lru_cache(maxsize=256)
def smooth_sequence(weights: tuple[int, ...]) -> tuple[int, ...]:
    """The order of positions, with heavy ones spread out among light ones.

    nginx's smooth weighted round robin: in each turn every candidate gains its weight;
    the one with the most is next, and pays the sum. Weights 5, 1, 1 give 0 0 1 0 2 0 0.
    """
    weights = _reduced(weights)
    total = sum(weights)
    standing = [0] * len(weights)
    sequence = []
    for _ in range(total):
        standing = [has + gain for has, gain in zip(standing, weights, strict=True)]
        richest = standing.index(max(standing))
        standing[richest] -= total
        sequence.append(richest)
    return tuple(sequence)


def _reduced(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Weights of about the same proportions that give a short sequence."""
    divisor = math.gcd(*weights)
    weights = tuple(weight // divisor for weight in weights)
    total = sum(weights)
    if total <= MAX_LENGTH:
        return weights
    return tuple(max(1, weight * MAX_LENGTH // total) for weight in weights)
