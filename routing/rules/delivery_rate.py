"""How well a provider delivers: a Beta estimate from receipts that forgets.

Evidence is counted per provider, channel and country, and halves in a half-life. It is
drawn towards a prior, the estimate of the wider segment (all countries of the provider,
all providers of the channel), so that three receipts do not make a provider the best.
A message whose receipt is overdue counts as the failure that it probably is: silence is
how most outages look.

A provider that sends no receipts at all is measured by acceptances, with nothing
overdue; say so where it is shown.

Pure: values in, values out; the caller counts, and chooses a half-life for which a few
hundred messages count (10 minutes to a day; 30 minutes at 0.25 messages a second).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from routing.vocabulary import ErrorClass, MessageStatus

PRIOR_WEIGHT = 20.0  # messages that the prior counts for
ROOT_MEAN = 0.9  # delivery rate of a channel of which nothing is known
NO_MORE_RECEIPTS = timedelta(minutes=15)  # silence of this age counts as a failure
MEDIAN_DELAY = timedelta(seconds=8)  # of a receipt
DELAY_SIGMA = 1.3  # of the delay's logarithm
_NORMAL_95 = 1.96  # standard deviations around the mean that hold 95 %
VERDICTS = {MessageStatus.DELIVERED, MessageStatus.FAILED, MessageStatus.BOUNCED}
# Faults of the message or of its recipient are no provider's, nor are carriers' caps.
NOT_THE_PROVIDERS = {
    ErrorClass.RECIPIENT,
    ErrorClass.MESSAGE,
    ErrorClass.THROTTLED,  # in a receipt: a carrier's cap
    ErrorClass.NOT_NOW,
}
_CERTAIN = 1e-9  # an estimate of exactly 0 or 1 would divide by zero

# The share of the receipts of delivered messages that have come by an age.
DelayCurve = Callable[[timedelta], float]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Deliveries and failures of a segment, as they weigh at `updated_at`."""

    successes: float
    failures: float
    updated_at: datetime

    @property
    def total(self) -> float:
        """How many messages of just now they weigh as much as."""
        return self.successes + self.failures


@dataclass(frozen=True, slots=True)
class Overdue:
    """Messages that were accepted `age` ago, and of which no receipt has come."""

    age: timedelta
    count: float  # weighed down like evidence, when it is old


@dataclass(frozen=True, slots=True)
class Score:
    """The estimated delivery rate, with the 95 % interval it probably lies in."""

    mean: float
    lower: float
    upper: float
    evidence: float  # messages it rests on, the overdue included and not the prior


def first_verdict(
    status: int | None, error_class: int | None, *, before: Iterable[int | None]
) -> bool | None:
    """Whether the provider delivered, by the first verdict on an attempt.

    None for what is no verdict, comes after another one, or is not the provider's
    doing. `before` are the statuses that were reported of the attempt until then.
    """
    if status not in VERDICTS or not VERDICTS.isdisjoint(before):
        return None
    if error_class in NOT_THE_PROVIDERS:
        return None
    return status == MessageStatus.DELIVERED


def decay(evidence: Evidence, now: datetime, half_life: timedelta) -> Evidence:
    """The evidence as it weighs now: `2 ** (-age / half_life)` of what it did.

    A clock that goes backwards, on another host, changes nothing.
    """
    age = max(now - evidence.updated_at, timedelta(0))
    weight = math.exp2(-(age / half_life))
    return Evidence(
        evidence.successes * weight,
        evidence.failures * weight,
        max(now, evidence.updated_at),
    )


def add(
    evidence: Evidence,
    *,
    successes: float,
    failures: float,
    now: datetime,
    half_life: timedelta,
) -> Evidence:
    """The evidence with receipts that came now, what was there having decayed."""
    old = decay(evidence, now, half_life)
    return Evidence(old.successes + successes, old.failures + failures, old.updated_at)


def receipt_delay(age: timedelta) -> float:
    """Lognormal: half the receipts come within 8 s, 95 % within 68 s."""
    if age <= timedelta(0):
        return 0.0
    return 0.5 * (
        1 + math.erf(math.log(age / MEDIAN_DELAY) / DELAY_SIGMA / math.sqrt(2))
    )


def overdue_now(
    silence: Iterable[tuple[datetime, int]], now: datetime, half_life: timedelta
) -> list[Overdue]:
    """Messages without a verdict, by when they were accepted, as they weigh now."""
    ages = [(max(now - at, timedelta(0)), count) for at, count in silence]
    return [Overdue(age, count * math.exp2(-(age / half_life))) for age, count in ages]


def score(
    evidence: Evidence,
    *,
    prior_mean: float,
    prior_weight: float = PRIOR_WEIGHT,
    overdue: Iterable[Overdue] = (),
    delay_curve: DelayCurve = receipt_delay,
) -> Score:
    """The delivery rate by evidence that has been decayed to now.

    The mean of `Beta(m * p0 + S, m * (1 - p0) + F)`, S and F with the overdue imputed,
    and its interval as that of the normal distribution of the same variance, cut to 0
    and 1: a little narrow at the edge, where a decision does not depend on it.
    """
    estimate = posterior_mean(evidence, prior_mean, prior_weight)
    for late in overdue:
        evidence = _impute(evidence, late, estimate, delay_curve)
    mean = posterior_mean(evidence, prior_mean, prior_weight)
    variance = mean * (1 - mean) / (prior_weight + evidence.total + 1)
    margin = _NORMAL_95 * math.sqrt(variance)
    return Score(mean, max(0.0, mean - margin), min(1.0, mean + margin), evidence.total)


def posterior_mean(
    evidence: Evidence, prior_mean: float, prior_weight: float = PRIOR_WEIGHT
) -> float:
    """`(m * p0 + S) / (m + S + F)`: the prior weighs as much as m messages."""
    weight = max(prior_weight, _CERTAIN)
    prior = min(max(prior_mean, 0.0), 1.0)
    return (weight * prior + evidence.successes) / (weight + evidence.total)


def prior_from(
    ancestors: Iterable[Evidence],
    *,
    root_mean: float = ROOT_MEAN,
    prior_weight: float = PRIOR_WEIGHT,
) -> float:
    """The prior of a segment: each ancestor's estimate is the prior of the next.

    `ancestors` come from the widest on: the channel, then the provider on it. They hold
    the segment's own evidence too, which is not taken out: it weighs twice, a little.
    """
    mean = root_mean
    for ancestor in ancestors:
        mean = posterior_mean(ancestor, mean, prior_weight)
    return mean


def _impute(
    evidence: Evidence, late: Overdue, estimate: float, delay_curve: DelayCurve
) -> Evidence:
    """Count overdue messages by how sure it is that a receipt should have come.

    With p the estimate and F the share of receipts that come by this age, a silent
    message failed with probability `q = (1 - p) / (1 - p * F)`, by Bayes, and weighs F:
    `w * q` failures and `w * (1 - q)` successes. Too old, it is a failure.
    """
    if late.age >= NO_MORE_RECEIPTS:
        weight = failed = 1.0
    else:
        weight = min(max(delay_curve(late.age), 0.0), 1.0)
        p = min(max(estimate, _CERTAIN), 1 - _CERTAIN)
        failed = (1 - p) / (1 - p * weight)
    return Evidence(
        evidence.successes + late.count * weight * (1 - failed),
        evidence.failures + late.count * weight * failed,
        evidence.updated_at,
    )
