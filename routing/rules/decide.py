"""Which provider is next, and what to do when it fails: decisions from plain values.

Pure: no database, no network, no clock. `routing.decision` collects the input, the
queue acts on the result, and each decision carries a record that explains it later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from routing.money import Money
from routing.providers.base import (
    BatchRejected,
    CarrierCapReached,
    HostFault,
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
from routing.rules.retry_table import (
    NO_RULES,
    Failure,
    RetryRule,
    RetryTable,
    times_failed,
)
from routing.rules.route import Route
from routing.rules.thresholds import NO_THRESHOLDS, Thresholds, screen
from routing.strategies import (
    IN_ORDER,
    NO_CONTEXT,
    STRATEGIES,
    Candidate,
    Context,
    Verdict,
)
from routing.strategies.base import fallback
from routing.vocabulary import FallbackReason, UnknownOutcomePolicy

# The longest wait of a message that no provider may take, until it is decided again.
NO_PROVIDER_PAUSE = timedelta(seconds=10)
SHORTEST_PAUSE = timedelta(milliseconds=50)
# How long a throttled message waits if the provider does not say. Each further time in
# a row doubles the wait, up to the longest.
THROTTLE_PAUSE = timedelta(seconds=5)
LONGEST_THROTTLE_PAUSE = timedelta(minutes=15)
# Before a message whose host could not call may be claimed again, by any worker.
HOST_FAULT_PAUSE = timedelta(seconds=1)
# After this many in a row, which takes a day, each further one fails a round.
THROTTLED_AT_MOST = 100
# The wait of a message that failed at a provider that mostly fails, on a route that
# makes no retries.
LAST_WAY_OUT_PAUSE = timedelta(minutes=1)
# The shortest wait of a message that its recipient cannot take now; it doubles as well.
NOT_NOW_PAUSE = timedelta(seconds=30)
LONGEST_NOT_NOW_PAUSE = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Decision:
    """The provider to send by, and why. `record` is stored on the attempt."""

    provider: str
    fallback_reason: FallbackReason | None
    record: dict[str, Any] = field(compare=False)
    estimate: Money | None = None  # what the message will cost; None if unknown


@dataclass(frozen=True, slots=True)
class Sent:
    """A provider accepted the message."""


@dataclass(frozen=True, slots=True)
class FallBack:
    """Send the message by another provider now, perhaps as the probe of its breaker."""

    decision: Decision
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at `due_at`; `counts_as_retry` if it uses up a retry of the route.

    `note` says which rule of the retry table it goes by; "" for none.
    """

    due_at: datetime
    counts_as_retry: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class AwaitVerdict:
    """Unknown whether it was sent: wait for a receipt until the deadline."""

    deadline: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The message failed for good."""


# Certainly not sent, and not the message's fault: its round continues.
PutOff = Throttled | CarrierCapReached | NotCalled | BatchRejected

Step = Sent | FallBack | Retry | AwaitVerdict | GiveUp


@dataclass(frozen=True, slots=True)
class Round:
    """What a message has been through, in its current round and before."""

    tried: tuple[str, ...]  # providers tried in this round, the latest last
    failed_rounds: int
    past_attempts: tuple[PastAttempt, ...] = ()
    throttled_by: tuple[str, ...] = ()  # of those tried in this round


@dataclass(frozen=True, slots=True)
class Choices:
    """The providers of a route, in its order, at the moment of a decision."""

    candidates: tuple[Candidate, ...]
    context: Context = NO_CONTEXT

    @property
    def unsuitable(self) -> set[str]:
        """The providers that cannot carry the message at all."""
        return {each.provider for each in self.candidates if each.is_unsuitable}

    def candidate(self, provider: str) -> Candidate:
        """The candidate of this name, which must be one of the route's."""
        return next(each for each in self.candidates if each.provider == provider)

    def with_verdicts(self, verdicts: Mapping[str, Verdict | None]) -> Choices:
        """The same choices, with other verdicts on some providers."""
        return replace(
            self,
            candidates=tuple(
                replace(each, verdict=verdicts.get(each.provider, each.verdict))
                for each in self.candidates
            ),
        )

    def within(self, thresholds: Thresholds) -> Choices:
        """The same choices, with verdicts on providers that the thresholds rule out."""
        if thresholds == NO_THRESHOLDS:
            return self
        return replace(self, candidates=screen(self.candidates, thresholds))


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """The input of a decision: time, randomness, and the choices."""

    now: datetime
    rng: Random
    choices: Choices
    jitter: float  # share of a delay
    verdict_wait: timedelta  # how long an unknown outcome waits for a receipt
    retries: RetryTable = NO_RULES


def first_choice(route: Route, choices: Choices) -> Decision | None:
    """The provider that a round starts with, or None if none may be used now.

    The ideal provider is the one that the strategy would pick if all were available
    and within the thresholds. Any other is a fallback, which the route must allow; its
    reason is what ruled the ideal one out.
    """
    ideal = _ideal_provider(route, choices)
    screened = choices.within(route.thresholds)
    chosen = _pick(route, screened)
    if chosen is None or ideal is None:
        return None
    verdict = screened.candidate(ideal).verdict
    if verdict is None:
        return _decision(route, chosen, screened, reason=None)
    if not route.is_fallback_enabled:
        return None
    return _decision(route, chosen, screened, reason=verdict.fallback_reason)


def probe_choice(route: Route, choices: Choices) -> Decision | None:
    """A provider that is due for a probe by this message, within the thresholds: the
    ideal one first, then the others in the route's order.

    While the ideal provider may be used, the others are probed only by messages that
    may gather evidence, so that they stand by when they are needed.
    """
    ideal = _ideal_provider(route, choices)
    if ideal is None:
        return None
    verdict = choices.candidate(ideal).verdict
    others = [name for name in route.in_use if name != ideal]
    if not route.is_fallback_enabled or not (verdict or choices.context.may_explore):
        others = []
    for name in (ideal, *others):
        if probed := _as_probed(route, choices, name):
            chosen, screened = probed
            reason = verdict.fallback_reason if verdict and name != ideal else None
            return _decision(route, chosen, screened, reason=reason)
    return None


def _as_probed(
    route: Route, choices: Choices, name: str
) -> tuple[Candidate, Choices] | None:
    """The provider as if it were in use, if it is due for a probe; with all choices."""
    verdict = choices.candidate(name).verdict
    if verdict is None or not verdict.may_be_probed:
        return None
    screened = choices.with_verdicts({name: None}).within(route.thresholds)
    probed = screened.candidate(name)
    return (probed, screened) if probed.is_eligible else None


def _ideal_provider(route: Route, choices: Choices) -> str | None:
    """The provider that the strategy would pick if all were available.

    Strategies that compare providers compare only those that can carry the message.
    """
    is_in_order = route.strategy in IN_ORDER
    available = [
        each
        if each.is_eligible or (each.is_unsuitable and not is_in_order)
        else replace(each, verdict=None)
        for each in choices.candidates
    ]
    ideal = STRATEGIES[route.strategy](available, choices.context)
    return ideal.provider if ideal else None


def is_hopeless(route: Route, choices: Choices) -> bool:
    """Whether none of the providers the route may use can carry the message at all."""
    return bool(route.in_use) and choices.unsuitable.issuperset(route.in_use)


def what_rules_out(route: Route, choices: Choices) -> str:
    """Why no provider may take a message now, provider by provider."""
    reasons = [
        f"{each.provider}: {each.verdict.reason.rstrip('.')}"
        for each in choices.within(route.thresholds).candidates
        if each.verdict
    ]
    return "; ".join(reasons)


def next_try_at(route: Route, choices: Choices, *, now: datetime) -> datetime:
    """When to decide again about a message that no provider may take now."""
    in_use = route.in_use
    changes = [
        each.verdict.until
        for each in choices.candidates
        if each.provider in in_use and each.verdict and each.verdict.until
    ]
    return max(min([*changes, now + NO_PROVIDER_PAUSE]), now + SHORTEST_PAUSE)


def next_step(
    route: Route, failure: SendFailure | None, round_: Round, at: DecisionContext
) -> Step:
    """What to do after a call; `failure` is None if the provider accepted.

    1. accepted: sent
    2. may have been sent: never a blind fallback; the route's policy decides. Sent in
       part: give up, because sending again would add to the part that arrived
    3. certainly not sent, and another provider may succeed: fall back now
    4. throttled, the carrier takes no more today, it was too late to call, or the call
       was refused because of another message in it: the same round again, now or later
    5. certainly not sent, and no surprise, as all providers that could carry it fail:
       the same round again, so that an outage uses up no retries. The last retry is not
       used up either while no call is known to succeed
    6. certainly not sent, and the retry table has a rule for it: by the table, which
       leaves the route's retries alone
    7. certainly not sent, and it may work later, here or elsewhere: the next round, if
       the retry policy allows one
    8. anything else: give up
    """
    if failure is None:
        return Sent()
    if isinstance(failure, OutcomeUnknown):
        is_partly_taken = isinstance(failure, PartlyTaken)
        return GiveUp() if is_partly_taken else _after_unknown(route, round_, at)
    if fallback := _fall_back(route, failure, round_, at.choices):
        return fallback
    if again := _same_round_again(route, failure, round_, at):
        return again
    return _later_or_never(route, failure, round_, at)


def _same_round_again(
    route: Route, failure: SendFailure, round_: Round, at: DecisionContext
) -> Step | None:
    """The step after a failure that uses up no retry; None if this one does."""
    if isinstance(failure, PutOff):
        return _put_off(route, failure, round_, at)
    is_outage = isinstance(failure, ProviderError) and _is_outage(
        route, round_, at.choices
    )
    if is_outage or _waits_for_another(route, failure, round_, at.choices):
        return _sit_out(route, round_, at)
    return None


def _put_off(route: Route, failure: PutOff, round_: Round, at: DecisionContext) -> Step:
    if isinstance(failure, Throttled):
        return _after_throttle(route, failure, round_, at)
    if isinstance(failure, CarrierCapReached):
        return Retry(next_midnight(at.now, failure.zone), counts_as_retry=False)
    if isinstance(failure, HostFault):
        return Retry(at.now + HOST_FAULT_PAUSE, counts_as_retry=False)
    return Retry(at.now, counts_as_retry=False)


def _after_throttle(
    route: Route, failure: Throttled, round_: Round, at: DecisionContext
) -> Step:
    """The same round again, each time after twice the wait, but not for ever."""
    times = times_throttled(round_.past_attempts, by=round_.tried[-1])
    if times >= THROTTLED_AT_MOST:
        return _next_round(route, round_, at, not_before=LONGEST_THROTTLE_PAUSE)
    first = failure.retry_after or THROTTLE_PAUSE
    pause = doubled(first, times, at_most=max(first, LONGEST_THROTTLE_PAUSE))
    if times:  # the provider chose the first wait; later ones must spread out
        pause = with_jitter(pause, share=at.jitter, rng=at.rng)
    return Retry(at.now + pause, counts_as_retry=False)


def _later_or_never(
    route: Route, failure: SendFailure, round_: Round, at: DecisionContext
) -> Step:
    if rule := _rule_for(route, failure, round_, at):
        return _by_table(rule, failure, round_, at)
    if not _may_work_later(route, failure, round_, at.choices):
        return GiveUp()
    step = _next_round(route, round_, at, not_before=_least_wait(failure, round_))
    is_last = isinstance(step, GiveUp) and isinstance(failure, ProviderError)
    if is_last and _may_be_outage(route, round_, at.choices):
        return _sit_out(route, round_, at)
    return step


def _rule_for(
    route: Route, failure: SendFailure, round_: Round, at: DecisionContext
) -> RetryRule | None:
    provider = round_.tried[-1]
    return at.retries.rule(
        Failure(route.channel, provider, failure.error_class, failure.code)
    )


def _by_table(
    rule: RetryRule, failure: SendFailure, round_: Round, at: DecisionContext
) -> Step:
    """The rule's next time, or that of the provider if it is later."""
    times = times_failed(round_.past_attempts, failure.error_class)
    again = rule.next_try(times=times)
    if again is None:
        return GiveUp()
    delay = with_jitter(again.delay, share=at.jitter, rng=at.rng)
    requested = getattr(failure, "retry_after", None) or timedelta(0)
    due_at = at.now + max(delay, requested)
    return Retry(due_at, counts_as_retry=False, note=again.note)


def _is_outage(route: Route, round_: Round, choices: Choices) -> bool:
    """Whether every provider that could carry the message is known to fail."""
    able = _able(route, round_, choices)
    failing = [each.provider for each in able if each.is_failing or each.verdict]
    return round_.tried[-1] in failing and len(failing) == len(able)


def _may_be_outage(route: Route, round_: Round, choices: Choices) -> bool:
    """Whether nothing says that a provider that could carry the message is well. Where
    little is sent, a message may have used up its retries before an outage shows.
    """
    return all(
        each.has_only_failed or each.is_failing or each.verdict
        for each in _able(route, round_, choices)
    )


def _waits_for_another(
    route: Route, failure: SendFailure, round_: Round, choices: Choices
) -> bool:
    """Whether the message can leave only by providers that are known to fail, as this
    one cannot carry it.
    """
    if not isinstance(failure, UnsuitableError):
        return False
    able = _able(route, round_, choices)
    others = [each for each in able if each.provider != round_.tried[-1]]
    return any(each.is_failing for each in others) and all(
        each.is_failing or each.verdict for each in others
    )


def _able(route: Route, round_: Round, choices: Choices) -> list[Candidate]:
    """The providers in use that can carry the message, with all that rules them out."""
    throttled = Verdict("it has just throttled the message")
    known = choices.with_verdicts(dict.fromkeys(round_.throttled_by, throttled))
    screened = known.within(route.thresholds)
    names = [name for name in route.in_use if name not in choices.unsuitable]
    return [screened.candidate(name) for name in names]


def _sit_out(route: Route, round_: Round, at: DecisionContext) -> Retry:
    """The same round again: at once if the provider is out of use, as the message then
    waits with the others; in a while if it is in use only because it is the last one.
    """
    if at.choices.candidate(round_.tried[-1]).verdict:
        return Retry(at.now, counts_as_retry=False)
    history = RetryHistory(round_.failed_rounds + 1, round_.past_attempts)
    delay = route.retry_policy(history) or LAST_WAY_OUT_PAUSE
    delay = with_jitter(delay, share=at.jitter, rng=at.rng)
    return Retry(at.now + delay, counts_as_retry=False)


def _may_work_later(
    route: Route, failure: SendFailure, round_: Round, choices: Choices
) -> bool:
    """Whether a later round may succeed.

    A message that this provider refused for good may still leave by another one that
    cannot be used at the moment.
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
    """The safe step if `next_step` itself fails: it never sends again."""
    if failure is None:
        return Sent()
    is_partly_taken = isinstance(failure, PartlyTaken)
    if isinstance(failure, OutcomeUnknown) and not is_partly_taken:
        return AwaitVerdict(at.now + at.verdict_wait)
    return GiveUp()


def after_lost_worker(route: Route, round_: Round, at: DecisionContext) -> Step:
    """What to do with a message that was in flight when its worker died."""
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
    """Whether another provider may take a message that this one did not send."""
    if isinstance(failure, NotNow | HostFault):
        return failure.elsewhere
    return isinstance(
        failure, ProviderError | Throttled | UnsuitableError | UnmappedError
    )


def _fall_back(
    route: Route, failure: SendFailure, round_: Round, choices: Choices
) -> FallBack | None:
    """Another provider for the message: one in use, or else one due for a probe."""
    if not (route.is_fallback_enabled and _is_elsewhere_better(failure)):
        return None
    error = f"{failure.error_class.label} {failure.code}".strip()
    tried = dict.fromkeys(round_.tried, Verdict("tried in this round"))
    tried[round_.tried[-1]] = Verdict(error)
    left = choices.with_verdicts(tried)
    screened = left.within(route.thresholds)
    reason = _reason(failure)
    if chosen := _pick(route, screened):
        return FallBack(_decision(route, chosen, screened, reason=reason))
    for name in route.in_use:
        if probed := _as_probed(route, left, name):
            return FallBack(_decision(route, *probed, reason=reason), is_probe=True)
    return None


def _pick(route: Route, choices: Choices) -> Candidate | None:
    """The strategy's pick of the eligible ones; if it picks none, the first of them."""
    chosen = STRATEGIES[route.strategy](choices.candidates, choices.context)
    return chosen or fallback(choices.candidates)


def _reason(failure: SendFailure) -> FallbackReason:
    if isinstance(failure, Throttled | NotNow):
        return FallbackReason.RATE_LIMIT_EXCEEDED
    is_unavailable = isinstance(failure, ProviderError) and failure.unavailable
    if is_unavailable or isinstance(failure, HostFault):
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
    return Decision(chosen.provider, reason, record, chosen.estimate)


def describe(candidate: Candidate, route: Route) -> dict[str, Any]:
    """A candidate as records and screens show it; unknown values are None."""
    price = None if candidate.price is None else f"{candidate.price.normalize():f}"
    return {
        "provider": candidate.provider,
        "verdict": candidate.verdict.reason if candidate.verdict else "eligible",
        "weight": candidate.weight,
        "price": price,
        "currency": route.currency if price else None,
        "score": None if candidate.quality is None else round(candidate.quality, 4),
        "evidence": round(candidate.evidence, 1),
    }
