"""Breakers, stored in rows that all workers share.

The rules are pure (`routing.rules.breaker`); here they are applied to rows. Throttles
are locked before breakers, each in the order of the providers' names, so that workers
cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from routing.models import ProviderHealth, ProviderThrottle
from routing.providers.base import (
    OutcomeUnknown,
    ProviderError,
    SendFailure,
    UnmappedError,
)
from routing.rules.breaker import (
    Breaker,
    BreakerState,
    Outcomes,
    begin_probe,
    describe,
    end_probe,
    is_healthy,
    observe,
)
from routing.rules.retry_budget import count_sends, remaining_now
from routing.vocabulary import Channel, ErrorClass


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The result of one message of a call, as far as it concerns provider health."""

    provider: str
    channel: Channel
    failure: SendFailure | None
    probe_token: datetime | None = None  # of the breaker's probe, if it was one
    is_retry: bool = False  # of a message that an earlier round failed to send
    call_id: int | None = None  # equal for messages that shared a call

    @property
    def is_fault(self) -> bool:
        """Whether it counts against the provider.

        An unmapped error code may be a fault of the provider: one proves nothing, but
        a run of them opens the breaker.
        """
        return isinstance(self.failure, ProviderError | OutcomeUnknown | UnmappedError)


@dataclass(slots=True)
class ChannelHealth:
    """The state of a channel's providers, of those that ever failed.

    Only those that are not healthy again are watched: their calls are counted, and
    their retries limited by their budgets.
    """

    breakers: dict[str, Breaker] = field(default_factory=dict)
    retries_left: dict[str, int] = field(default_factory=dict)

    @property
    def watched(self) -> Collection[str]:
        """Those that are not healthy."""
        return self.retries_left.keys()


class HealthBook:
    """A worker's cache of the providers' health, at most `max_age` old. Probes and
    throttles must be exact: taking from them locks the row.
    """

    def __init__(self, *, max_age: timedelta = timedelta(milliseconds=100)) -> None:
        self._max_age = max_age
        self._read_at: datetime | None = None
        self._channels: dict[Channel, ChannelHealth] = {}
        self._has_throttles = False

    def channels(self, *, now: datetime) -> Mapping[Channel, ChannelHealth]:
        """The health of each channel's providers.

        A caller that uses up a retry subtracts it there, until the next refresh.
        """
        self._refresh(now)
        return self._channels

    def has_throttles(self, *, now: datetime) -> bool:
        """Whether any provider has a throttle."""
        self._refresh(now)
        return self._has_throttles

    def forget(self) -> None:
        """Read again at the next access."""
        self._read_at = None

    def _refresh(self, now: datetime) -> None:
        if self._read_at is not None and abs(now - self._read_at) < self._max_age:
            return
        self._channels = {channel: ChannelHealth() for channel in Channel}
        for row in ProviderHealth.objects.all():
            health = self._channels[Channel(row.channel)]
            health.breakers[row.provider] = row.breaker
            if not is_healthy(row.breaker, now):
                left = remaining_now(row.recent_sends, now)
                health.retries_left[row.provider] = left
        self._has_throttles = ProviderThrottle.objects.exists()
        self._read_at = now


def take_probe(
    provider: str, channel: Channel, *, now: datetime, lease: timedelta
) -> datetime | None:
    """Reserve the one probe of an open breaker; its token, or None.

    Within the caller's transaction. Expects to lose: another worker may have taken the
    probe, or hold the row now. It does not wait for the lock: a claim may take several
    probes, in any order.
    """
    row = (
        ProviderHealth.objects.select_for_update(skip_locked=True)
        .filter(provider=provider, channel=channel)
        .first()
    )
    probing = begin_probe(row.breaker, now, lease) if row else None
    if row is None or probing is None:
        return None
    row.save_breaker(probing)
    return probing.probe_until


def describe_breaker(breaker: Breaker | None, now: datetime) -> str:
    """The breaker's state in words; without a row the provider is in use."""
    return describe(breaker or Breaker(), now)


# Per provider and channel: the providers its messages could go to instead, by route.
Alternatives = Mapping[tuple[str, Channel], Sequence[set[str]]]


def learn(
    outcomes: Iterable[CallOutcome],
    *,
    alternatives: Alternatives,
    now: datetime,
    rng: Random,
) -> None:
    """Update the breakers with the results of calls; within the caller's transaction.

    A breaker stays closed while some route would be left without a provider.
    """
    by_provider: dict[tuple[str, Channel], list[CallOutcome]] = {}
    for outcome in outcomes:
        key = (outcome.provider, outcome.channel)
        by_provider.setdefault(key, []).append(outcome)
    for key in sorted(by_provider):
        _learn(key, by_provider[key], alternatives, now, rng)


def _learn(
    key: tuple[str, Channel],
    outcomes: Sequence[CallOutcome],
    alternatives: Alternatives,
    now: datetime,
    rng: Random,
) -> None:
    counted = count_outcomes(
        each for each in _one_per_call(outcomes) if each.probe_token is None
    )
    probes = [each for each in outcomes if each.probe_token is not None]
    row = _health_row(key, is_needed=bool(counted.all_failures))
    if row is None:
        return
    breaker = row.breaker
    if counted.successes or counted.all_failures:
        is_last = _is_last(alternatives.get(key, ()), key[1])
        breaker = observe(breaker, counted, now=now, rng=rng, is_last_eligible=is_last)
    for probe in probes:
        breaker = _end_probe(breaker, probe, now, rng)
    row.sends = count_sends(
        row.recent_sends,
        first_sends=sum(not each.is_retry for each in outcomes),
        failed_retries=sum(each.is_retry and each.is_fault for each in outcomes),
        now=now,
    )
    row.save_breaker(breaker)


def _end_probe(
    breaker: Breaker, probe: CallOutcome, now: datetime, rng: Random
) -> Breaker:
    if probe.probe_token is None:
        return breaker
    is_success = _judge_probe(probe)
    return end_probe(
        breaker, probe.probe_token, is_success=is_success, now=now, rng=rng
    )


def count_outcomes(outcomes: Iterable[CallOutcome]) -> Outcomes:
    """Calls by what they say about the provider.

    A refused message or recipient, and a 429, say nothing.
    """
    successes = failures = account_failures = 0
    for outcome in outcomes:
        failure = outcome.failure
        if failure is None:
            successes += 1
        elif failure.error_class == ErrorClass.ACCOUNT:
            account_failures += 1
        elif outcome.is_fault:
            failures += 1
    return Outcomes(successes, failures, account_failures)


def _one_per_call(outcomes: Sequence[CallOutcome]) -> Iterable[CallOutcome]:
    """A failed call is one fault, however many messages it had."""
    alone = [each for each in outcomes if each.call_id is None]
    return [*alone, *{each.call_id: each for each in outcomes if each.call_id}.values()]


def _judge_probe(probe: CallOutcome) -> bool | None:
    if probe.failure is None:
        return True
    return False if probe.is_fault else None


def _health_row(key: tuple[str, Channel], *, is_needed: bool) -> ProviderHealth | None:
    provider, channel = key
    rows = ProviderHealth.objects.select_for_update().filter(
        provider=provider, channel=channel
    )
    row = rows.first()
    if row is None and is_needed:
        ProviderHealth.objects.get_or_create(provider=provider, channel=channel)
        row = rows.get()
    return row


def _is_last(alternatives: Sequence[set[str]], channel: Channel) -> bool:
    """Whether some route has no other provider that may be used."""
    ill = set(
        ProviderHealth.objects.filter(channel=channel)
        .exclude(state=BreakerState.CLOSED)
        .values_list("provider", flat=True)
    )
    return not alternatives or any(others <= ill for others in alternatives)
