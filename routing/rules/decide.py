"""Which provider next, and what to do when it fails: decisions from plain values.

Pure: no database, no network, no clock. `routing.dispatch` feeds it and acts on it, and
each decision carries the record that explains it later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from routing.money import Money
from routing.providers.base import (
    BatchRejected,
    CarrierCapReached,
    NotCalled,
    NotNow,
    OutcomeUnknown,
    PartlyTaken,
    ProviderError,
    SendFailure,
    Throttled,
    UnmappedError,
    UnsuitableError,
)
from routing.rules.retry import (
    PastAttempt,
    RetryHistory,
    doubled,
    next_midnight,
    times_throttled,
    with_jitter,
)
from routing.rules.route import Route
from routing.rules.thresholds import screen
from routing.strategies import NO_CONTEXT, STRATEGIES, Candidate, Context
from routing.strategies.fallback import fallback
from routing.vocabulary import FallbackReason, RoutingStrategy, UnknownOutcomePolicy

# How long a throttled message waits when the provider does not say; and at most, as the
# wait doubles with each further time in a row.
THROTTLE_PAUSE = timedelta(seconds=5)
LONGEST_THROTTLE_PAUSE = timedelta(minutes=15)
# So often in a row, which takes a day: from then on each time is a failed round.
THROTTLED_AT_MOST = 100
# How long a message waits at least whose recipient takes none; it doubles as well.
NOT_NOW_PAUSE = timedelta(seconds=30)
LONGEST_NOT_NOW_PAUSE = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Decision:
    """The provider to hand over to, and why. `record` goes onto the attempt."""

    provider: str
    fallback_reason: FallbackReason | None
    record: dict[str, Any] = field(compare=False)
    estimate: Money | None = None  # what the message will cost; None: nobody knows


@dataclass(frozen=True, slots=True)
class Sent:
    """A provider accepted the message."""


@dataclass(frozen=True, slots=True)
class FallBack:
    """Hand the message to another provider now."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at `due_at`; `counts_as_retry` when a round has failed."""

    due_at: datetime
    counts_as_retry: bool


@dataclass(frozen=True, slots=True)
class AwaitVerdict:
    """Nobody knows: wait for a receipt until the deadline."""

    deadline: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The message failed for good."""


# Certainly not sent, and no fault of the message: its round goes on.
PutOff = Throttled | CarrierCapReached | NotCalled | BatchRejected

Step = Sent | FallBack | Retry | AwaitVerdict | GiveUp


@dataclass(frozen=True, slots=True)
class Round:
    """Where a message stands in its present round, and before it."""

    tried: tuple[str, ...]  # providers tried in this round, the latest last
    failed_rounds: int
    past_attempts: tuple[PastAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """The providers of a route as they stand at the moment of a decision.

    `candidates` come in the route's order; `reasons` says, of those that are ruled out,
    what a fallback to another is for. `estimates` are what the message would cost, in
    each provider's own currency. Those that are `unsuitable` are ruled out for this
    message, now and later.
    """

    candidates: tuple[Candidate, ...]
    reasons: Mapping[str, FallbackReason] = field(default_factory=dict)
    estimates: Mapping[str, Money] = field(default_factory=dict)
    context: Context = NO_CONTEXT
    unsuitable: Collection[str] = ()

    def without(self, verdicts: Mapping[str, str]) -> Choices:
        """The same, with some candidates ruled out."""
        return replace(
            self,
            candidates=tuple(
                replace(each, verdict=verdicts.get(each.provider, each.verdict))
                for each in self.candidates
            ),
        )


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """The moment of a decision: time, chance, and what there is to choose from."""

    now: datetime
    rng: Random
    choices: Choices
    jitter: float  # share of a delay
    verdict_wait: timedelta  # how long an unknown outcome waits for a receipt


def first_choice(route: Route, choices: Choices) -> Decision | None:
    """The provider that a round starts with, or None when none may be used now.

    The ideal is what the strategy would pick were every provider well and within the
    thresholds. Another one is a fallback from it, if the route allows any, and its
    reason is what ruled the ideal out.
    """
    ideal = ideal_provider(route, choices)
    screened = screened_choices(route, choices)
    chosen = _pick(route, screened)
    if chosen is None or ideal is None:
        return None
    reason = None
    if not _is_eligible(ideal, screened):
        if not route.is_fallback_enabled:
            return None
        reason = screened.reasons.get(ideal, FallbackReason.PROVIDER_UNAVAILABLE)
    return _decision(route, chosen, screened, reason=reason)


def ideal_provider(route: Route, choices: Choices) -> str | None:
    """The provider that the strategy would pick if all were well.

    A strategy that compares providers compares those that can carry the message.
    """
    is_in_order = route.strategy in (RoutingStrategy.PRIMARY, RoutingStrategy.FALLBACK)
    left_out = () if is_in_order else choices.unsuitable
    well = [
        each
        if each.is_eligible or each.provider in left_out
        else replace(each, verdict="")
        for each in choices.candidates
    ]
    ideal = STRATEGIES[route.strategy](well, choices.context)
    return ideal.provider if ideal else None


def is_hopeless(route: Route, choices: Choices) -> bool:
    """Whether no provider that the route may use can ever carry the message."""
    in_use = route.in_use
    return bool(in_use) and all(name in choices.unsuitable for name in in_use)


def screened_choices(route: Route, choices: Choices) -> Choices:
    """The choices with what is above or below the route's thresholds ruled out."""
    screened = screen(choices.candidates, route.thresholds)
    return replace(
        choices,
        candidates=screened.candidates,
        reasons={**choices.reasons, **screened.reasons},
    )


def next_step(
    route: Route, failure: SendFailure | None, round_: Round, at: DecisionContext
) -> Step:
    """What to do after a hand-over: `failure` is None when the provider accepted.

    1. accepted: sent
    2. may have been sent: never a blind fallback; the route's policy decides. Sent in
       part: no handset shows it whole, and more of it would come on top
    3. certainly not sent, and another provider may do better: fall back now
    4. throttled, the carrier takes no more today, it was too late to call, or the call
       was refused for another message in it: the same round again, now or later
    5. certainly not sent, and it may work later, here or elsewhere: the next round, if
       the policy grants one
    6. anything else is permanent
    """
    if failure is None:
        return Sent()
    if isinstance(failure, OutcomeUnknown):
        is_partly_taken = isinstance(failure, PartlyTaken)
        return GiveUp() if is_partly_taken else _after_unknown(route, round_, at)
    if decision := _fall_back(route, failure, round_, at.choices):
        return FallBack(decision)
    if isinstance(failure, PutOff):
        return _put_off(route, failure, round_, at)
    if _may_work_later(route, failure, round_, at.choices):
        not_before = _least_wait(failure, round_)
        return _next_round(route, round_, at, not_before=not_before)
    return GiveUp()


def _put_off(route: Route, failure: PutOff, round_: Round, at: DecisionContext) -> Step:
    if isinstance(failure, Throttled):
        return _after_throttle(route, failure, round_, at)
    if isinstance(failure, CarrierCapReached):
        return Retry(next_midnight(at.now, failure.zone), counts_as_retry=False)
    return Retry(at.now, counts_as_retry=False)


def _after_throttle(
    route: Route, failure: Throttled, round_: Round, at: DecisionContext
) -> Step:
    """The same round again, each time after twice the wait; it is not for ever."""
    times = times_throttled(round_.past_attempts, by=round_.tried[-1])
    if times >= THROTTLED_AT_MOST:
        return _next_round(route, round_, at, not_before=LONGEST_THROTTLE_PAUSE)
    told = failure.retry_after or THROTTLE_PAUSE
    pause = doubled(told, times, at_most=max(told, LONGEST_THROTTLE_PAUSE))
    if times:  # the first wait is the provider's; later ones must not come in step
        pause = with_jitter(pause, share=at.jitter, rng=at.rng)
    return Retry(at.now + pause, counts_as_retry=False)


def _may_work_later(
    route: Route, failure: SendFailure, round_: Round, choices: Choices
) -> bool:
    """Whether a later round may end better.

    What this provider refused for good may still go by another one that cannot be used
    at the moment.
    """
    if isinstance(failure, ProviderError | NotNow):
        return True
    if not isinstance(failure, UnsuitableError | UnmappedError):
        return False
    refused = {round_.tried[-1], *choices.unsuitable}
    return not refused.issuperset(route.in_use)


def _least_wait(failure: SendFailure, round_: Round) -> timedelta | None:
    if isinstance(failure, NotNow):
        pause = doubled(
            NOT_NOW_PAUSE, round_.failed_rounds, at_most=LONGEST_NOT_NOW_PAUSE
        )
        return max(pause, failure.retry_after or pause)
    return failure.retry_after if isinstance(failure, ProviderError) else None


def cautious_step(failure: SendFailure | None, at: DecisionContext) -> Step:
    """What is safe where `next_step` itself fails: never another send."""
    if failure is None:
        return Sent()
    is_partly_taken = isinstance(failure, PartlyTaken)
    if isinstance(failure, OutcomeUnknown) and not is_partly_taken:
        return AwaitVerdict(at.now + at.verdict_wait)
    return GiveUp()


def after_lost_worker(route: Route, round_: Round, at: DecisionContext) -> Step:
    """What to do with a message whose worker died with it in flight."""
    return _after_unknown(route, round_, at)


def _after_unknown(route: Route, round_: Round, at: DecisionContext) -> Step:
    if route.unknown_outcome_policy == UnknownOutcomePolicy.RESEND:
        return _next_round(route, round_, at)
    return AwaitVerdict(at.now + at.verdict_wait)


def _next_round(
    route: Route,
    round_: Round,
    at: DecisionContext,
    *,
    not_before: timedelta | None = None,
) -> Step:
    failed_rounds = round_.failed_rounds + 1
    if failed_rounds > route.max_retries:
        return GiveUp()
    delay = route.retry_policy(RetryHistory(failed_rounds, round_.past_attempts))
    if delay is None:
        return GiveUp()
    delay = with_jitter(max(delay, timedelta(0)), share=at.jitter, rng=at.rng)
    return Retry(at.now + max(delay, not_before or timedelta(0)), counts_as_retry=True)


def _is_elsewhere_better(failure: SendFailure) -> bool:
    """Whether another provider may take what this one certainly did not."""
    if isinstance(failure, NotNow):
        return failure.elsewhere
    return isinstance(
        failure, ProviderError | Throttled | UnsuitableError | UnmappedError
    )


def _fall_back(
    route: Route, failure: SendFailure, round_: Round, choices: Choices
) -> Decision | None:
    if not _is_elsewhere_better(failure):
        return None
    if not route.is_fallback_enabled:
        return None
    tried = dict.fromkeys(round_.tried, "tried in this round")
    tried[round_.tried[-1]] = f"{failure.error_class.label} {failure.code}".strip()
    screened = screened_choices(route, choices.without(tried))
    chosen = _pick(route, screened)
    if chosen is None:
        return None
    return _decision(route, chosen, screened, reason=_reason(failure))


def _pick(route: Route, choices: Choices) -> Candidate | None:
    """What the strategy picks of what is left; without an opinion, the first."""
    chosen = STRATEGIES[route.strategy](choices.candidates, choices.context)
    return chosen or fallback(choices.candidates)


def _is_eligible(provider: str, choices: Choices) -> bool:
    return any(
        each.provider == provider and each.is_eligible for each in choices.candidates
    )


def _reason(failure: SendFailure) -> FallbackReason:
    if isinstance(failure, Throttled | NotNow):
        return FallbackReason.RATE_LIMIT_EXCEEDED
    if isinstance(failure, ProviderError) and failure.unavailable:
        return FallbackReason.PROVIDER_UNAVAILABLE
    return FallbackReason.PRIMARY_FAILED


def _decision(
    route: Route,
    chosen: Candidate,
    choices: Choices,
    *,
    reason: FallbackReason | None,
) -> Decision:
    record = {
        "route": route.config_id,
        "strategy": route.strategy.label,
        "chosen": chosen.provider,
        "fallback_reason": None if reason is None else reason.label,
        "candidates": [describe(each, route) for each in choices.candidates],
    }
    estimate = choices.estimates.get(chosen.provider)
    return Decision(chosen.provider, reason, record, estimate)


def describe(candidate: Candidate, route: Route) -> dict[str, Any]:
    """A candidate as records and screens show it; what nobody knows is null."""
    price = None if candidate.price is None else f"{candidate.price.normalize():f}"
    return {
        "provider": candidate.provider,
        "verdict": candidate.verdict or "eligible",
        "weight": candidate.weight,
        "price": price,
        "currency": route.currency if price else None,
        "score": None if candidate.quality is None else round(candidate.quality, 4),
        "evidence": round(candidate.evidence, 1),
    }
