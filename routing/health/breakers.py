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

from routing.health.pauses import read_limits
from routing.models import ProviderHealth
from routing.providers.base import (
    OutcomeUnknown,
    ProviderError,
    SendFailure,
    UnmappedError,
)
from routing.rules import throttle as gcra
from routing.rules.breaker import (
    LIMITS,
    Breaker,
    BreakerState,
    Outcomes,
    ProbeResult,
    begin_probe,
    describe,
    end_probe,
    is_healthy,
    observe,
    return_rate,
    return_throttle,
    with_success,
)
from routing.rules.pause import Pause
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

    @property
    def error(self) -> str:
        """The failure in a word or two: its code, or its kind."""
        if self.failure is None:
            return ""
        return self.failure.code or self.failure.error_class.label.lower()


@dataclass(slots=True)
class ChannelHealth:
    """The state of a channel's providers, of those that ever failed.

    Only those that are not healthy again are watched: their calls are counted, and
    their retries limited by their budgets.
    """

    breakers: dict[str, Breaker] = field(default_factory=dict)
    retries_left: dict[str, int] = field(default_factory=dict)
    return_tats: dict[str, datetime | None] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)  # of all channels

    @property
    def watched(self) -> Collection[str]:
        """Those that are not healthy."""
        return self.retries_left.keys()

    def is_in_use(self, provider: str) -> bool:
        """Whether traffic may go to it."""
        breaker = self.breakers.get(provider)
        is_out = breaker is not None and not breaker.is_closed
        return not is_out and provider not in self.pauses

    def is_returning(self, provider: str, now: datetime) -> bool:
        """Whether it has just come back, so that its rate grows from a low one."""
        breaker = self.breakers.get(provider)
        return breaker is not None and return_rate(breaker, now) is not None

    def returning(self, now: datetime) -> dict[str, float]:
        """Those that have just come back, and about how many messages each may take
        now, where no other takes the rest.
        """
        throttles = {
            name: return_throttle(each, self.return_tats.get(name), now)
            for name, each in self.breakers.items()
        }
        return {n: gcra.available(each, now) for n, each in throttles.items() if each}


class HealthBook:
    """A worker's cache of the providers' health, at most `max_age` old. Probes and
    throttles must be exact: taking from them locks the row.
    """

    def __init__(self, *, max_age: timedelta = timedelta(milliseconds=100)) -> None:
        self._max_age = max_age
        self._read_at: datetime | None = None
        self._version = 0
        self._succeeded_at: dict[tuple[str, Channel], datetime] = {}
        self._channels: dict[Channel, ChannelHealth] = {}
        self._has_throttles = False
        self._pauses: Mapping[str, Pause] = {}

    @property
    def version(self) -> int:
        """Another one whenever it may have changed."""
        return self._version

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

    def pauses(self, *, now: datetime) -> Mapping[str, Pause]:
        """The paused providers, by name."""
        self._refresh(now)
        return self._pauses

    def note_successes(
        self, places: Iterable[tuple[str, Channel]], *, now: datetime
    ) -> None:
        """Remember that calls succeeded. Healthy providers' calls are not counted, but
        a few failures soon after a success are no outage.
        """
        self._succeeded_at.update(dict.fromkeys(places, now))

    def succeeded_lately(self, *, now: datetime) -> set[tuple[str, Channel]]:
        """The providers that this worker has called with success in the last minute."""
        memory = LIMITS.bucket_length * LIMITS.bucket_count
        return {key for key, at in self._succeeded_at.items() if now - at < memory}

    def forget(self) -> None:
        """Read again at the next access."""
        self._read_at = None

    def foresee(
        self,
        outcomes: Iterable[CallOutcome],
        *,
        alternatives: Alternatives,
        now: datetime,
        rng: Random,
    ) -> None:
        """Let this cache know of results that are about to be recorded: what they mean
        for the breakers already matters for what becomes of their messages.
        """
        channels = self.channels(now=now)
        self._version += 1
        well = self.succeeded_lately(now=now)
        for key, alike in sorted(_by_provider(outcomes).items()):
            provider, channel = key
            breakers = channels[channel].breakers
            out = {name for name, each in breakers.items() if not each.is_closed}
            breakers[provider] = _observed(
                _known(breakers.get(provider), now, is_well=key in well),
                alike,
                is_last=_is_last(alternatives.get(key, ()), out),
                now=now,
                rng=rng,
            )

    def _refresh(self, now: datetime) -> None:
        if self._read_at is not None and abs(now - self._read_at) < self._max_age:
            return
        self._has_throttles, self._pauses = read_limits(now=now)
        self._channels = {each: ChannelHealth(pauses=self._pauses) for each in Channel}
        for row in ProviderHealth.objects.all():
            health = self._channels[Channel(row.channel)]
            health.breakers[row.provider] = row.breaker
            health.return_tats[row.provider] = row.return_tat
            if not is_healthy(row.breaker, now):
                left = remaining_now(row.recent_sends, now)
                health.retries_left[row.provider] = left
        self._read_at = now
        self._version += 1


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


def out_of_use() -> list[str]:
    """The providers whose breaker is open, or being tried."""
    unused = ProviderHealth.objects.exclude(state=BreakerState.CLOSED)
    return list(unused.values_list("provider", flat=True))


def describe_breaker(breaker: Breaker | None, now: datetime) -> str:
    """The breaker's state in words; without a row the provider is in use."""
    return describe(breaker or Breaker(), now)


# Per provider and channel: the providers its messages could go to instead, by route.
Alternatives = Mapping[tuple[str, Channel], Sequence[set[str]]]


def learn(
    outcomes: Iterable[CallOutcome],
    *,
    alternatives: Alternatives,
    succeeded_lately: Collection[tuple[str, Channel]] = (),
    now: datetime,
    rng: Random,
) -> None:
    """Update the breakers with the results of calls; within the caller's transaction.

    Where some route would be left without a provider, a breaker opens only if no call
    succeeds.
    """
    for key, alike in sorted(_by_provider(outcomes).items()):
        _learn(
            key,
            alike,
            alternatives.get(key, ()),
            is_well=key in succeeded_lately,
            now=now,
            rng=rng,
        )


def _by_provider(
    outcomes: Iterable[CallOutcome],
) -> dict[tuple[str, Channel], list[CallOutcome]]:
    by_provider: dict[tuple[str, Channel], list[CallOutcome]] = {}
    for outcome in outcomes:
        key = (outcome.provider, outcome.channel)
        by_provider.setdefault(key, []).append(outcome)
    return by_provider


def _learn(
    key: tuple[str, Channel],
    outcomes: Sequence[CallOutcome],
    alternatives: Sequence[set[str]],
    *,
    is_well: bool,
    now: datetime,
    rng: Random,
) -> None:
    is_needed = any(each.is_fault for each in outcomes)
    row = _health_row(key, is_needed=is_needed)
    if row is None:
        return
    unused = ProviderHealth.objects.exclude(state=BreakerState.CLOSED)
    out = unused.filter(channel=key[1]).values_list("provider", flat=True)
    breaker = _observed(
        _known(row.breaker, now, is_well=is_well),
        outcomes,
        is_last=_is_last(alternatives, out),
        now=now,
        rng=rng,
    )
    row.sends = count_sends(
        row.recent_sends,
        first_sends=sum(not each.is_retry for each in outcomes),
        failed_retries=sum(each.is_retry and each.is_fault for each in outcomes),
        now=now,
    )
    row.save_breaker(breaker)


def _known(breaker: Breaker | None, now: datetime, *, is_well: bool) -> Breaker:
    """The breaker as it would be if the successes of healthy providers were counted."""
    breaker = breaker or Breaker()
    return with_success(breaker, now) if is_well and not breaker.buckets else breaker


def _observed(
    breaker: Breaker,
    outcomes: Sequence[CallOutcome],
    *,
    is_last: bool,
    now: datetime,
    rng: Random,
) -> Breaker:
    """The breaker after these calls, of which some may have been probes."""
    counted = count_outcomes(
        each for each in _one_per_call(outcomes) if each.probe_token is None
    )
    if counted.successes or counted.all_failures:
        breaker = observe(breaker, counted, now=now, rng=rng, is_last_eligible=is_last)
    for probe in outcomes:
        if probe.probe_token is not None:
            breaker = end_probe(
                breaker,
                ProbeResult(probe.probe_token, _judge_probe(probe), probe.error),
                now=now,
                rng=rng,
                is_last_eligible=is_last,
            )
    return breaker


def count_outcomes(outcomes: Iterable[CallOutcome]) -> Outcomes:
    """Calls by what they say about the provider.

    A refused message or recipient, and a 429, say nothing.
    """
    successes = failures = account_failures = unmapped = 0
    error = ""
    for outcome in outcomes:
        failure = outcome.failure
        if failure is None:
            successes += 1
        elif failure.error_class == ErrorClass.ACCOUNT:
            account_failures += 1
        elif failure.error_class == ErrorClass.UNMAPPED:
            unmapped += 1
        elif outcome.is_fault:
            failures += 1
        if outcome.is_fault:
            error = outcome.error
    return Outcomes(successes, failures, account_failures, unmapped, error)


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


def _is_last(alternatives: Sequence[set[str]], out: Collection[str]) -> bool:
    """Whether some route has no other provider that may be used."""
    return not alternatives or any(others <= {*out} for others in alternatives)
