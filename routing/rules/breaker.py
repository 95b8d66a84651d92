"""The circuit breaker of a provider and channel: whether the provider may be used now.

Closed, it lets all traffic pass and counts failures. Open, it lets none pass until
`open_until`. Then one probe at a time is sent: the breaker is half-open. Enough good
probes close it and traffic comes back in steps; a bad one opens it for longer.

While some calls succeed, the last provider that may be used stays in use: a bad
provider is better than none. If none succeeds, its breaker opens too, and messages wait
instead of failing one after the other (`routing.rules.outage`).

Pure: values in, values out. The caller reads a row under a lock (or changes it by a
conditional update), calls a function here, and writes what it returns. A failure means
that the provider did not do its work: not reached, a time-out, 5xx, an unreadable
answer, an unknown refusal. A refused message or recipient, a message that the provider
cannot carry, and a 429 say nothing about its health: leave them out.

The figures: Hystrix' volume minimum, Finagle's run of failures and growing open time,
Envoy's "at least one stays".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from routing.rules.throttle import Throttle
from routing.text.moments import utc_clock
from routing.vocabulary import ChoiceEnum


class BreakerState(ChoiceEnum):
    """Whether traffic passes."""

    CLOSED = 0  # it does, or comes back in steps
    OPEN = 1  # none does
    HALF_OPEN = 2  # only one probe at a time does

    @property
    def label(self) -> str:
        """What it means for the provider, for people who do not know breakers."""
        return ("in use", "out of use", "being tried again")[self]


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens, for how long, and how it closes."""

    bucket_length: timedelta = timedelta(seconds=10)
    bucket_count: int = 6  # failures are remembered for a minute
    min_volume: int = 20  # the failure rate of fewer calls says nothing
    failure_rate: float = 0.5  # share of the calls at which it opens
    failures_in_a_row: int = 5  # opens whatever the volume
    # The same for the last provider that may be used, whatever succeeded before. If it
    # fails 60 % of the calls, one run in 100,000 is that long.
    lost_in_a_row: int = 25
    open_base: timedelta = timedelta(seconds=5)  # of the first opening, before chance
    open_limit: timedelta = timedelta(minutes=5)
    max_opened_count: int = 6  # 5 s * 2**6 is past the limit: no need to count further
    healthy_spell: timedelta = timedelta(minutes=10)  # forgets one opening
    probe_successes: int = 3  # one after the other, to close
    # Time since closing, and the share of the traffic from then on; finally all of it.
    ramp: tuple[tuple[timedelta, float], ...] = (
        (timedelta(0), 0.25),
        (timedelta(seconds=30), 0.5),
        (timedelta(seconds=60), 1.0),
    )
    # The same where no other provider can take the rest: messages per second, in steps
    # of equal length; then there is no limit.
    return_rates: tuple[float, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    return_step: timedelta = timedelta(seconds=5)
    # Workers claim 20 times a second: with less they could not keep to the rate.
    return_burst: timedelta = timedelta(milliseconds=100)


LIMITS = BreakerLimits()
LAST_WAY_OUT = "kept in use, as no other provider may be used"
ERROR_LENGTH = 40  # characters of a provider's last error that are kept


class Bucket(NamedTuple):
    """The calls of one period, numbered since the epoch."""

    number: int
    successes: int
    failures: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The results of a provider's calls since the last time; each is counted once."""

    successes: int = 0
    failures: int = 0  # not reached, a time-out, 5xx, unreadable
    account_failures: int = 0  # refused our credentials, funds or permissions
    unmapped: int = 0  # refused a message for an unknown reason, perhaps its own
    error: str = ""  # the last failure in a word or two, such as "503"

    @property
    def all_failures(self) -> int:
        """Failures of any kind."""
        return self.failures + self.account_failures + self.unmapped


class ProbeResult(NamedTuple):
    """How a probe went. `is_success` is None if the result says nothing: the message or
    its recipient was refused, or a 429.
    """

    token: datetime
    is_success: bool | None
    error: str = ""  # in a word or two


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one provider and channel, as stored in its row."""

    state: BreakerState = BreakerState.CLOSED
    reason: str = ""  # for the last change, or for staying closed despite failures
    buckets: tuple[Bucket, ...] = ()  # while closed; the oldest first
    failures_in_a_row: int = 0
    opened_count: int = 0  # openings not forgotten yet; k in the formula
    open_until: datetime | None = None
    probe_until: datetime | None = None  # the lease of the probe under way
    probe_successes: int = 0  # while half-open
    closed_at: datetime | None = None  # None when it never opened
    out_since: datetime | None = None  # when it opened first, while it is not closed
    last_error: str = ""  # of the calls that failed, in a word or two

    @property
    def is_closed(self) -> bool:
        """Whether traffic passes, all of it or some."""
        return self.state == BreakerState.CLOSED

    @property
    def is_failing(self) -> bool:
        """Whether a failed call is no surprise: the provider is known to fail."""
        return not self.is_closed or self.is_last_way_out

    @property
    def has_only_failed(self) -> bool:
        """Whether its last calls failed, and none of those remembered succeeded."""
        is_well = any(bucket.successes for bucket in self.buckets)
        return self.failures_in_a_row > 0 and not is_well

    @property
    def is_last_way_out(self) -> bool:
        """Whether it would be open if there were another provider to use."""
        return self.is_closed and self.reason.endswith(LAST_WAY_OUT)


def observe(
    breaker: Breaker,
    outcomes: Outcomes,
    *,
    now: datetime,
    rng: Random,
    is_last_eligible: bool,
    limits: BreakerLimits = LIMITS,
) -> Breaker:
    """Count results, and open on too many failures.

    Ignored unless the breaker is closed: results that arrive later are of calls made
    before it opened. Results of probes go to `end_probe`. The breaker of the last
    provider that may be used opens only if no call has succeeded lately. As failures
    may come back sooner than successes, a success of a call that was under way then
    shows that it opened without cause.
    """
    if is_last_eligible and _is_false_alarm(breaker, outcomes, now, limits):
        return with_success(Breaker(), now, limits=limits)
    if breaker.state != BreakerState.CLOSED:
        return breaker
    counted = _count(breaker, outcomes, now, limits)
    reason = _reason_to_open(counted, outcomes, limits)
    if not reason:
        return replace(counted, reason="")
    if is_last_eligible and not _is_all_lost(counted, outcomes, limits):
        return replace(counted, reason=f"{reason}; {LAST_WAY_OUT}")
    return _open(counted, reason, now, rng, limits)


def admission(
    breaker: Breaker, now: datetime, *, limits: BreakerLimits = LIMITS
) -> float:
    """The share of the traffic that may go to the provider now, 0.0 to 1.0.

    Probes are extra. The rest goes to other providers; where there is none, limiting
    the share would protect nothing, and the caller lets all of it pass.
    """
    if breaker.state != BreakerState.CLOSED:
        return 0.0
    if breaker.closed_at is None:
        return 1.0
    elapsed = max(now - breaker.closed_at, timedelta(0))
    return max(share for since, share in limits.ramp if since <= elapsed)


def return_rate(
    breaker: Breaker, now: datetime, *, limits: BreakerLimits = LIMITS
) -> float | None:
    """How many messages a second may go to a provider that is back in use, where no
    other can take the rest; None: any number.
    """
    if breaker.closed_at is None:
        return None
    # Before it closed, as the clock was set back: how long ago is not known.
    step = abs(now - breaker.closed_at) // limits.return_step
    return limits.return_rates[step] if step < len(limits.return_rates) else None


def return_throttle(
    breaker: Breaker,
    tat: datetime | None,
    now: datetime,
    *,
    limits: BreakerLimits = LIMITS,
) -> Throttle | None:
    """The same as a throttle. `tat` says how much of it is used up."""
    rate = return_rate(breaker, now, limits=limits)
    burst = limits.return_burst.total_seconds()
    return None if rate is None else Throttle(rate, max(1.0, rate * burst), tat)


def is_healthy(
    breaker: Breaker, now: datetime, *, limits: BreakerLimits = LIMITS
) -> bool:
    """Whether all traffic may go to the provider and no failure is remembered."""
    return (
        admission(breaker, now, limits=limits) == 1
        and not breaker.failures_in_a_row
        and not any(each.failures for each in _recent(breaker.buckets, now, limits))
    )


def may_probe(breaker: Breaker, now: datetime) -> bool:
    """Whether one message may try the provider although traffic may not.

    A prober that dies blocks other probes for no longer than its lease. No breaker
    opens for longer than the limit: a clock was set back.
    """
    if breaker.state == BreakerState.OPEN:
        until = breaker.open_until
        return until is None or not now < until <= now + LIMITS.open_limit
    if breaker.state == BreakerState.HALF_OPEN:
        return breaker.probe_until is None or breaker.probe_until <= now
    return False


def try_now(breaker: Breaker, now: datetime) -> Breaker | None:
    """Make the next message the probe, without waiting longer; None if one is under
    way. For a breaker that is not closed.
    """
    if breaker.state == BreakerState.HALF_OPEN:
        return breaker if may_probe(breaker, now) else None
    return replace(breaker, open_until=min(now, breaker.open_until or now))


def begin_probe(breaker: Breaker, now: datetime, lease: timedelta) -> Breaker | None:
    """Take the probe until `now + lease`; None if it is taken or not due.

    `lease` must be longer than a call may last. Keep the new `probe_until`: it is the
    token for `end_probe`.
    """
    if not may_probe(breaker, now):
        return None
    return replace(
        breaker,
        state=BreakerState.HALF_OPEN,
        open_until=None,
        probe_until=now + lease,
    )


def end_probe(
    breaker: Breaker,
    result: ProbeResult,
    *,
    now: datetime,
    rng: Random,
    is_last_eligible: bool = False,
    limits: BreakerLimits = LIMITS,
) -> Breaker:
    """Apply a probe's result: close after enough good ones, or open for longer.

    If the result says nothing, the next message is the probe. Ignored if the probe's
    lease ran out and another probe has begun. One good probe is enough where no other
    provider may be used: the messages that wait come back slowly anyway.
    """
    if breaker.state != BreakerState.HALF_OPEN or breaker.probe_until != result.token:
        return breaker
    if result.is_success is None:
        return replace(breaker, probe_until=None)
    if not result.is_success:
        error = result.error[:ERROR_LENGTH] or breaker.last_error
        failed = replace(breaker, last_error=error)
        return _open(failed, "the probe failed", now, rng, limits)
    successes = breaker.probe_successes + 1
    if successes < limits.probe_successes and not is_last_eligible:
        return replace(breaker, probe_until=None, probe_successes=successes)
    return Breaker(
        reason="a probe succeeded"
        if successes == 1
        else f"{successes} probes succeeded",
        opened_count=breaker.opened_count,
        closed_at=now,
    )


def describe(breaker: Breaker, now: datetime, *, limits: BreakerLimits = LIMITS) -> str:
    """What the state means for the provider, for a verdict, an explanation or a screen:
    "out of use until 06:54:00 UTC (3 failures in a row)".

    Times are in UTC and say so: the text is stored, and read in any time zone.
    """
    words = breaker.state.label
    if breaker.open_until is not None and breaker.open_until > now:
        words += f" until {utc_clock(breaker.open_until)}"
    elif breaker.state == BreakerState.OPEN:
        words += " until the next message tries it"
    share = admission(breaker, now, limits=limits)
    if 0 < share < 1:
        words += f" for {share:.0%} of the traffic"
    return f"{words} ({breaker.reason})" if breaker.reason else words


def opened_count(
    breaker: Breaker, now: datetime, *, limits: BreakerLimits = LIMITS
) -> int:
    """The openings not forgotten yet: one is forgotten per healthy spell."""
    if breaker.closed_at is None:
        return breaker.opened_count
    spells = max(0, (now - breaker.closed_at) // limits.healthy_spell)
    return max(0, breaker.opened_count - spells)


def to_row(breaker: Breaker) -> dict[str, Any]:
    """The columns of its row; `state` is an integer, `buckets` is JSON."""
    return {
        "state": breaker.state.value,
        "reason": breaker.reason,
        "buckets": [list(bucket) for bucket in breaker.buckets],
        "failures_in_a_row": breaker.failures_in_a_row,
        "opened_count": breaker.opened_count,
        "open_until": breaker.open_until,
        "probe_until": breaker.probe_until,
        "probe_successes": breaker.probe_successes,
        "closed_at": breaker.closed_at,
        "out_since": breaker.out_since,
        "last_error": breaker.last_error,
    }


def from_row(row: Mapping[str, Any]) -> Breaker:
    """The breaker of such a row, with aware datetimes; other keys are ignored."""
    return Breaker(
        state=BreakerState(row["state"]),
        reason=row["reason"],
        buckets=tuple(Bucket(*bucket) for bucket in row["buckets"]),
        failures_in_a_row=row["failures_in_a_row"],
        opened_count=row["opened_count"],
        open_until=row["open_until"],
        probe_until=row["probe_until"],
        probe_successes=row["probe_successes"],
        closed_at=row["closed_at"],
        out_since=row["out_since"],
        last_error=row["last_error"],
    )


def _count(
    breaker: Breaker, outcomes: Outcomes, now: datetime, limits: BreakerLimits
) -> Breaker:
    """Add to the ring and to the run of failures.

    The order within a batch is unknown, so one success in it ends the run; the failure
    rate still counts the rest.
    """
    run = breaker.failures_in_a_row + outcomes.all_failures
    return replace(
        breaker,
        buckets=_with(breaker.buckets, outcomes, now, limits),
        failures_in_a_row=0 if outcomes.successes else run,
        last_error=outcomes.error[:ERROR_LENGTH] or breaker.last_error,
    )


def with_success(
    breaker: Breaker, now: datetime, *, limits: BreakerLimits = LIMITS
) -> Breaker:
    """The breaker with one more success that no batch has brought."""
    buckets = _with(breaker.buckets, Outcomes(successes=1), now, limits)
    return replace(breaker, buckets=buckets)


def _with(
    buckets: tuple[Bucket, ...],
    outcomes: Outcomes,
    now: datetime,
    limits: BreakerLimits,
) -> tuple[Bucket, ...]:
    """The ring with the outcomes in the current bucket, without buckets too old."""
    number = _bucket_number(now, limits)
    recent = {each.number: each for each in _recent(buckets, now, limits)}
    _, successes, failures = recent.get(number, Bucket(number, 0, 0))
    recent[number] = Bucket(
        number, successes + outcomes.successes, failures + outcomes.all_failures
    )
    return tuple(sorted(recent.values()))


def _recent(
    buckets: Iterable[Bucket], now: datetime, limits: BreakerLimits
) -> list[Bucket]:
    """Those within the window. Buckets far in the future are ignored too: they come
    from a clock that has been corrected since.
    """
    number = _bucket_number(now, limits)
    return [each for each in buckets if abs(number - each.number) < limits.bucket_count]


def _bucket_number(now: datetime, limits: BreakerLimits) -> int:
    return int(now.timestamp() // limits.bucket_length.total_seconds())


def _reason_to_open(breaker: Breaker, news: Outcomes, limits: BreakerLimits) -> str:
    """Why the breaker must open, "" if it need not; successes alone never open it."""
    if not news.all_failures:
        return ""
    if news.account_failures:
        return "the provider refuses our account"
    if breaker.failures_in_a_row >= limits.failures_in_a_row:
        return f"{breaker.failures_in_a_row} failures in a row"
    failures = sum(bucket.failures for bucket in breaker.buckets)
    calls = failures + sum(bucket.successes for bucket in breaker.buckets)
    if calls >= limits.min_volume and failures / calls >= limits.failure_rate:
        return f"{failures} of {calls} calls failed"
    return ""


def _is_false_alarm(
    breaker: Breaker, news: Outcomes, now: datetime, limits: BreakerLimits
) -> bool:
    return (
        breaker.state == BreakerState.OPEN
        and breaker.opened_count == 1
        and breaker.out_since is not None
        and now - breaker.out_since < limits.bucket_length
        and news.successes > 0
    )


def _is_all_lost(breaker: Breaker, news: Outcomes, limits: BreakerLimits) -> bool:
    """Whether no call succeeds any more: none has for as long as calls are remembered,
    or the run of failures is too long for chance. A message refused for an unknown
    reason may be to blame itself: others are not held up for it.
    """
    if not news.failures + news.account_failures:
        return False
    any_success = any(bucket.successes for bucket in breaker.buckets)
    enough = limits.lost_in_a_row if any_success else limits.failures_in_a_row
    return breaker.failures_in_a_row >= enough


def _open(
    breaker: Breaker, reason: str, now: datetime, rng: Random, limits: BreakerLimits
) -> Breaker:
    """Open for `U(1/2, 1) * min(limit, base * 2**k)`, with k remembered openings.

    The randomness keeps the breakers of many providers from probing in step.
    """
    remembered = opened_count(breaker, now, limits=limits)
    longest = min(limits.open_limit, limits.open_base * 2**remembered)
    return Breaker(
        state=BreakerState.OPEN,
        reason=reason,
        opened_count=min(remembered + 1, limits.max_opened_count),
        open_until=now + longest * rng.uniform(0.5, 1.0),
        out_since=breaker.out_since or now,
        last_error=breaker.last_error,
    )
