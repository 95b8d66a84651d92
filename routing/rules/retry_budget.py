"""How many retries a provider may fail: few in proportion to its first sends.

Retries that grow with the failures make an outage worse: three retries per message are
four times the load, on a provider that is already down. The budget limits them to a
fifth (Finagle's `RetryBudget`, with its window of ten seconds), and the reserve still
allows retries at a provider with little traffic.

An accepted retry costs nothing, as in the AWS SDKs' standard retry mode, which gives
its cost back. Otherwise the backlog of an outage would leave at the pace of the reserve
long after the provider has recovered: docs/decisions/0005.

Pure: the caller counts, per provider, over the last ten seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

RETRY_SHARE = 0.2  # retries per first send
RESERVE_PER_SECOND = 1.0  # retries that are free
WINDOW_SECONDS = 10
STRETCH_SECONDS = 2  # the window moves on in steps of it


def remaining(
    *, first_sends: int, failed_retries: int, seconds: float = WINDOW_SECONDS
) -> int:
    """Retries still allowed: `first_sends / 5 + seconds - failed_retries`, at least 0.

    `first_sends` and `failed_retries` are those of the last `seconds`.
    """
    reserve = RESERVE_PER_SECOND * max(0.0, seconds)
    earned = RETRY_SHARE * max(0, first_sends) + reserve
    return max(0, math.floor(earned) - max(0, failed_retries))


class Sends(NamedTuple):
    """A provider's sends in one period of two seconds, numbered since the epoch."""

    number: int
    first_sends: int
    failed_retries: int


def count_sends(
    sends: Iterable[Sends], *, first_sends: int, failed_retries: int, now: datetime
) -> tuple[Sends, ...]:
    """The window's sends plus those of now, the oldest first."""
    current = _stretch(now)
    recent = {each.number: each for each in recent_sends(sends, now)}
    _, first, again = recent.get(current, Sends(current, 0, 0))
    recent[current] = Sends(current, first + first_sends, again + failed_retries)
    return tuple(sorted(recent.values()))


def recent_sends(sends: Iterable[Sends], now: datetime) -> list[Sends]:
    """Those within the window."""
    stretches = WINDOW_SECONDS // STRETCH_SECONDS
    return [each for each in sends if abs(_stretch(now) - each.number) < stretches]


def remaining_now(sends: Iterable[Sends], now: datetime) -> int:
    """The retries still allowed, by the sends within the window."""
    recent = recent_sends(sends, now)
    return remaining(
        first_sends=sum(each.first_sends for each in recent),
        failed_retries=sum(each.failed_retries for each in recent),
    )


def _stretch(now: datetime) -> int:
    return int(now.timestamp() // STRETCH_SECONDS)
