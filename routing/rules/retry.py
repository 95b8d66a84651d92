"""When to retry a message: policies that return a decision and never sleep.

A round is one try of a message on its route: the chosen provider and, if that fails
and fallback is allowed, the others. Delays grow with the number of failed rounds, so
that a fallback within a round does not lengthen them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import takewhile
from random import Random
from zoneinfo import ZoneInfo

from routing.vocabulary import AttemptOutcome, ErrorClass, RetryStrategy


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One attempt as a retry policy sees it."""

    number: int
    provider: str
    outcome: AttemptOutcome
    error_class: ErrorClass | None
    error_code: str
    attempted_at: datetime
    # What a receipt said later, if it failed.
    reported: ErrorClass | None = None


@dataclass(frozen=True, slots=True)
class RetryHistory:
    """What a retry policy decides from.

    `attempts` are all attempts of the message, the latest last.
    """

    failed_rounds: int
    attempts: tuple[PastAttempt, ...] = ()


logger = logging.getLogger(__name__)
LONGEST_DELAY = timedelta(days=30)

# Returns the delay before the next round, or None to stop.
RetryPolicy = Callable[[RetryHistory], timedelta | None]


@dataclass(frozen=True, slots=True)
class GuardedRetry:
    """A custom policy: if it fails, `fallback` decides.

    It returns a delay, or None or "stop" to stop. Anything else, and any exception, is
    logged, and does not stop the worker.
    """

    policy: RetryPolicy
    fallback: RetryPolicy

    def __call__(self, history: RetryHistory) -> timedelta | None:
        try:
            delay: object = self.policy(history)
        except Exception:
            logger.exception("The retry policy %r failed.", self.policy)
            return self.fallback(history)
        if delay is None or delay == "stop":
            return None
        if isinstance(delay, timedelta):
            return min(max(delay, timedelta(0)), LONGEST_DELAY)
        logger.error("The retry policy %r returned %r.", self.policy, delay)
        return self.fallback(history)


def no_retry(history: RetryHistory) -> timedelta | None:
    """Stop after the first round."""
    return None


@dataclass(frozen=True, slots=True)
class LinearRetry:
    """`initial * n` after failed round n, at most `maximum`."""

    initial: timedelta
    maximum: timedelta

    def __call__(self, history: RetryHistory) -> timedelta | None:
        return _at_most(self.maximum, self.initial, history.failed_rounds)


@dataclass(frozen=True, slots=True)
class ExponentialRetry:
    """`initial * 2**n` after failed round n, at most `maximum`."""

    initial: timedelta
    maximum: timedelta

    def __call__(self, history: RetryHistory) -> timedelta | None:
        return doubled(self.initial, history.failed_rounds, at_most=self.maximum)


POLICIES: dict[RetryStrategy, Callable[[timedelta, timedelta], RetryPolicy]] = {
    RetryStrategy.NONE: lambda _initial, _maximum: no_retry,
    RetryStrategy.LINEAR: LinearRetry,
    RetryStrategy.EXPONENTIAL: ExponentialRetry,
}


def policy_for(
    strategy: RetryStrategy,
    *,
    initial: timedelta,
    maximum: timedelta,
    custom: RetryPolicy | None = None,
) -> RetryPolicy:
    """The policy of a strategy; `custom` is that of the Custom strategy."""
    if strategy != RetryStrategy.CUSTOM:
        return POLICIES[strategy](initial, maximum)
    if custom is None:
        return no_retry
    return GuardedRetry(custom, ExponentialRetry(initial, maximum))


def schedule(policy: RetryPolicy, *, rounds: int) -> list[timedelta]:
    """The delays after the first, second, ... failed round, until the policy stops:
    without jitter, and for a message without attempts on record.
    """
    delays = []
    for number in range(1, rounds + 1):
        delay = policy(RetryHistory(number))
        if delay is None:
            break
        delays.append(delay)
    return delays


def doubled(delay: timedelta, times: int, *, at_most: timedelta) -> timedelta:
    """The delay, doubled `times` times."""
    return _at_most(at_most, delay, 2 ** min(times, 64))


def times_throttled(attempts: Sequence[PastAttempt], *, by: str) -> int:
    """How many of the latest attempts, in a row, the provider throttled."""
    in_a_row = takewhile(
        lambda each: each.error_class == ErrorClass.THROTTLED, reversed(attempts)
    )
    return sum(each.provider == by for each in in_a_row)


def next_midnight(now: datetime, zone: str) -> datetime:
    """When the next day begins in a time zone (IANA name)."""
    here = now.astimezone(ZoneInfo(zone))
    tomorrow = datetime.combine(here.date() + timedelta(days=1), time(), here.tzinfo)
    return tomorrow.astimezone(now.tzinfo)


def with_jitter(delay: timedelta, *, share: float, rng: Random) -> timedelta:
    """Add up to `share` of the delay, so that retries spread out."""
    return delay + delay * (share * rng.random())


def _at_most(maximum: timedelta, delay: timedelta, factor: int) -> timedelta:
    """`delay * factor`, clamped before a timedelta could overflow."""
    seconds = min(delay.total_seconds() * factor, maximum.total_seconds())
    return timedelta(seconds=seconds)
