"""How fast a provider may be used: GCRA, a leaky bucket that fits in one row.

`tat` (theoretical arrival time) is when the provider would have finished everything it
was sent, working at exactly the configured rate. A message may go if that is at most
`burst / rate` ahead. So no window of t seconds ever holds more than `rate * t + burst`
units, as long as all senders share the row. A unit is a message or, if the provider
counts that way, a segment.

A 429 slows it down: each unit then takes the time of `1 / factor` units. This reduces
both the burst and the rate; the bound above still holds.

Pure: values in, values out. Times are rounded up to the database's microseconds, so
the rate is never exceeded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

SLOW_FACTOR = 0.7  # what a 429 leaves of the rate
MIN_FACTOR = 0.1  # of the configured rate; any slower, and it would never recover
RECOVERY = 0.05  # of the configured rate, per minute without a 429
RECOVERY_STEP = timedelta(minutes=1)
# Messages already in flight bring more 429s; for this long they do not count again.
SETTLING = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(days=1)  # even if a provider asks for more
_TOLERANCE = 1e-6  # seconds; for rounding errors


@dataclass(frozen=True, slots=True)
class Throttle:
    """The configured rate of a provider, and how much of it is used up."""

    rate_per_second: float  # units, the ceiling; above 0
    burst: float  # units that may go at once after an idle time; above 0
    tat: datetime | None = None  # None if it was never used
    factor: float = 1.0  # share of the rate that the last 429 left
    slowed_at: datetime | None = None  # when that pause ended; None without a 429

    def __post_init__(self) -> None:
        for number in (self.rate_per_second, self.burst):
            if not (math.isfinite(number) and number > 0):
                raise ValueError(f"A throttle's rate and burst must be above 0: {self}")


def factor(throttle: Throttle, now: datetime) -> float:
    """The share of the configured rate that is allowed now, 0.1 to 1.0.

    Additive increase after multiplicative decrease (AIMD), as in TCP.
    """
    if throttle.slowed_at is None:
        return 1.0
    clean_steps = max(0, (now - throttle.slowed_at) // RECOVERY_STEP)
    return min(1.0, throttle.factor + RECOVERY * clean_steps)


def available(throttle: Throttle, now: datetime) -> float:
    """The total of units that may go now; 0.0 if none may.

    After an idle time it is at least 1, because one message may always go then.
    """
    backlog = _backlog(throttle, now)
    if backlog <= 0:
        return max(1.0, throttle.burst * factor(throttle, now))
    seconds = max(0.0, _tolerated(throttle) - backlog)
    return seconds * _rate(throttle, now)


def take(throttle: Throttle, units: float, now: datetime) -> Throttle | None:
    """The throttle after using `units` now; None if they may not go yet.

    A message of more units than the burst may go after an idle time, and then counts
    in full: otherwise it could never go.
    """
    if _excess(throttle, units, now) > _TOLERANCE:
        return None
    started = now if throttle.tat is None else max(now, throttle.tat)
    duration = _rounded_up(max(0.0, units) / _rate(throttle, now))
    return replace(throttle, tat=started + duration)


def wait_for(throttle: Throttle, units: float, now: datetime) -> timedelta:
    """How long until `units` may go, if no other caller takes them; 0 if now."""
    excess = _excess(throttle, units, now)
    return _rounded_up(excess) if excess > _TOLERANCE else timedelta(0)


def slow_down(
    throttle: Throttle, retry_after: timedelta | None, now: datetime
) -> Throttle:
    """After a 429: nothing goes for `retry_after`, and then less than before.

    The `tat` is set one burst beyond the end of the pause: otherwise a whole burst
    might go before it is over. Several 429s within a short time slow it down once.
    """
    pause = min(max(retry_after or timedelta(0), timedelta(0)), LONGEST_PAUSE)
    resumes_at = now + pause
    tat = throttle.tat or now
    if pause:
        tat = max(tat, resumes_at + _rounded_up(_tolerated(throttle)))
    left = factor(throttle, now)
    if throttle.slowed_at is not None:
        resumes_at = max(resumes_at, throttle.slowed_at)
    if not _is_settling(throttle, now):
        left = max(MIN_FACTOR, left * SLOW_FACTOR)
    return replace(throttle, tat=tat, factor=left, slowed_at=resumes_at)


def _is_settling(throttle: Throttle, now: datetime) -> bool:
    return throttle.slowed_at is not None and now < throttle.slowed_at + SETTLING


def _rate(throttle: Throttle, now: datetime) -> float:
    """Units per second that are allowed now."""
    return throttle.rate_per_second * factor(throttle, now)


def _tolerated(throttle: Throttle) -> float:
    """Seconds by which the `tat` may lie ahead."""
    return throttle.burst / throttle.rate_per_second


def _backlog(throttle: Throttle, now: datetime) -> float:
    """Seconds by which the `tat` lies ahead; negative or 0 after an idle time."""
    return 0.0 if throttle.tat is None else (throttle.tat - now).total_seconds()


def _excess(throttle: Throttle, units: float, now: datetime) -> float:
    """Seconds by which the units would exceed what is tolerated."""
    tolerated = _tolerated(throttle)
    needed = min(max(0.0, units) / _rate(throttle, now), tolerated)
    return max(0.0, _backlog(throttle, now)) + needed - tolerated


def _rounded_up(seconds: float) -> timedelta:
    # Less than a thousandth of a microsecond is a rounding error.
    return timedelta(microseconds=math.ceil(round(seconds * 1e6, 3)))
