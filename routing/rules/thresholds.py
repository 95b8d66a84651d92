"""A route's limits for its providers: a maximum price and a minimum delivery rate.

Pure: rules candidates out before a strategy sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from routing.strategies.base import MIN_EVIDENCE, Candidate, Verdict
from routing.vocabulary import FallbackReason


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits of a route; None means no limit."""

    max_cost: Decimal | None = None  # of the whole message, in the candidates' currency
    min_quality: float | None = None  # delivery rate, 0.0 to 1.0
    min_evidence: float = MIN_EVIDENCE  # messages before a delivery rate counts


NO_THRESHOLDS = Thresholds()


def screen(
    candidates: Sequence[Candidate], thresholds: Thresholds
) -> tuple[Candidate, ...]:
    """Rule out candidates that are too expensive, then those that deliver too little.
    The order stays.

    1. The maximum cost is a promise to the customer: it may rule out every candidate,
       and then the message is not sent. An unknown price is not above the maximum: it
       passes, and is shown as unknown.
    2. The minimum delivery rate is relative: it needs enough evidence and never rules
       out all that are left. If all deliver too little, the best of them stays.

    A candidate that is already ineligible keeps its verdict.
    """
    costly = _costly(candidates, thresholds)
    affordable = [
        each for each in candidates if each.is_eligible and each.provider not in costly
    ]
    verdicts = {**costly, **_poor(affordable, thresholds)}
    return tuple(
        replace(each, verdict=verdicts.get(each.provider, each.verdict))
        for each in candidates
    )


def _costly(
    candidates: Sequence[Candidate], thresholds: Thresholds
) -> dict[str, Verdict]:
    """The eligible candidates that cost too much, with a verdict each."""
    maximum = thresholds.max_cost
    if maximum is None:
        return {}
    return {
        each.provider: Verdict(
            f"its price {each.price} is above the maximum of {maximum}",
            FallbackReason.COST_THRESHOLD,
        )
        for each in candidates
        if each.is_eligible and each.price is not None and each.price > maximum
    }


def _poor(
    candidates: Sequence[Candidate], thresholds: Thresholds
) -> dict[str, Verdict]:
    """The candidates that deliver too little; if all do, without the best."""
    minimum = thresholds.min_quality
    if minimum is None:
        return {}
    rates = {
        each.provider: each.quality
        for each in candidates
        if each.quality is not None
        and each.evidence >= thresholds.min_evidence
        and each.quality < minimum
    }
    if rates and len(rates) == len(candidates):
        del rates[max(rates, key=lambda provider: rates[provider])]
    return {
        provider: Verdict(
            f"it delivers {rate:.1%}, below the minimum of {minimum:.1%}",
            FallbackReason.QUALITY_THRESHOLD,
        )
        for provider, rate in rates.items()
    }
