"""How well a provider delivers: a Beta estimate from receipts, with decay.

Evidence is counted per provider, channel and country, and decays with a half-life. The
estimate is drawn towards a prior, that of the wider segment (all countries of the
provider, all providers of the channel), so that three receipts do not make a provider
the best. An overdue receipt probably means a failure, and counts as one: in most
outages receipts just stop coming.

A provider that sends no receipts at all is measured by acceptances, with nothing
overdue; say so where it is shown.

Pure: values in, values out. The caller counts, and chooses a half-life in which there
are a few hundred messages (10 minutes to a day; 30 minutes at 0.25 messages a second).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from routing.vocabulary import TRY_LATER, ErrorClass, MessageStatus

PRIOR_WEIGHT = 20.0  # the prior weighs as much as this many messages
ROOT_MEAN = 0.9  # assumed delivery rate of a channel without evidence
NO_MORE_RECEIPTS = timedelta(minutes=15)  # overdue longer: counts as a failure
MEDIAN_DELAY = timedelta(seconds=8)  # of a receipt
DELAY_SIGMA = 1.3  # of the delay's logarithm
_NORMAL_95 = 1.96  # standard deviations around the mean that hold 95 %
VERDICTS = {MessageStatus.DELIVERED, MessageStatus.FAILED, MessageStatus.BOUNCED}
# Faults of the message, its recipient or a carrier are not the provider's.
NOT_THE_PROVIDERS = {
    ErrorClass.RECIPIENT,
    ErrorClass.MESSAGE,
    ErrorClass.THROTTLED,  # in a receipt: a carrier's limit
    *TRY_LATER,
}
_CERTAIN = 1e-9  # an estimate of exactly 0 or 1 would cause a division by zero

# The share of receipts, of delivered messages, that arrive within an age.
DelayCurve = Callable[[timedelta], float]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Deliveries and failures of a segment, decayed to `updated_at`."""

    successes: float
    failures: float
    updated_at: datetime

    @property
    def total(self) -> float:
        """Their weight, in messages of now."""
        return self.successes + self.failures


@dataclass(frozen=True, slots=True)
class Overdue:
    """Messages that were accepted `age` ago and have no receipt."""

    age: timedelta
    count: float  # decayed like evidence


@dataclass(frozen=True, slots=True)
class Score:
    """The estimated delivery rate, with its 95 % interval."""

    mean: float
    lower: float
    upper: float
    evidence: float  # messages it is based on, including overdue ones, not the prior


def first_verdict(
    status: int | None, error_class: int | None, *, before: Iterable[int | None]
) -> bool | None:
    """Whether the provider delivered, by the first verdict on an attempt.

    None if the status is no verdict, comes after another verdict, or is not the
    provider's fault. `before` are the statuses reported for the attempt until then.
    """
    if status not in VERDICTS or not VERDICTS.isdisjoint(before):
        return None
    if error_class in NOT_THE_PROVIDERS:
        return None
    return status == MessageStatus.DELIVERED


def decay(evidence: Evidence, now: datetime, half_life: timedelta) -> Evidence:
    """The evidence decayed to now, by the factor `2 ** (-age / half_life)`.

    A clock that is behind, on another host, changes nothing.
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
    """The evidence decayed to now, plus the receipts that just came."""
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
    counts: Iterable[tuple[datetime, int]], now: datetime, half_life: timedelta
) -> list[Overdue]:
    """Messages without a verdict, by the time of their acceptance, decayed to now."""
    ages = [(max(now - at, timedelta(0)), count) for at, count in counts]
    return [Overdue(age, count * math.exp2(-(age / half_life))) for age, count in ages]


def score(
    evidence: Evidence,
    *,
    prior_mean: float,
    prior_weight: float = PRIOR_WEIGHT,
    overdue: Iterable[Overdue] = (),
    delay_curve: DelayCurve = receipt_delay,
) -> Score:
    """The delivery rate, from evidence that has been decayed to now.

    The mean of `Beta(m * p0 + S, m * (1 - p0) + F)`, where S and F include imputed
    overdue messages. The interval is that of the normal distribution with the same
    variance, cut to 0 and 1: a little too narrow near them, where no decision depends
    on it.
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

    `ancestors` start with the widest: the channel, then the provider on it. They
    include the segment's own evidence, which therefore counts slightly more than once.
    """
    mean = root_mean
    for ancestor in ancestors:
        mean = posterior_mean(ancestor, mean, prior_weight)
    return mean


def _impute(
    evidence: Evidence, late: Overdue, estimate: float, delay_curve: DelayCurve
) -> Evidence:
    """Count overdue messages by the probability that a receipt should have come.

    With p the estimate and F the share of receipts that come by this age, a message
    without one failed with probability `q = (1 - p) / (1 - p * F)`, by Bayes. It has
    the weight F: `F * q` failures and `F * (1 - q)` successes. Overdue too long, it is
    a failure.
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
