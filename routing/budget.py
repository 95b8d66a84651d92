"""How many retries a provider may get: few beside its first sends.

Retries that grow with the failures make an outage worse: three retries each are four
times the load, on a provider that is already down. A budget bounds that to a fifth
(Finagle's `RetryBudget`), and the reserve lets a provider with little traffic have its
retries all the same.

Pure: the caller counts, per provider, over the last minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

RETRY_SHARE = 0.2  # retries per first send
RESERVE_PER_SECOND = 1.0  # retries that are free
WINDOW_SECONDS = 60
STRETCH_SECONDS = 10  # the window moves on in steps of it


def remaining(
    *, first_sends: int, retries: int, seconds: float = WINDOW_SECONDS
) -> int:
    """The retries that may still go: `first_sends / 5 + seconds - retries`, or 0.

    `first_sends` and `retries` are those of the last `seconds`.
    """
    reserve = RESERVE_PER_SECOND * max(0.0, seconds)
    earned = RETRY_SHARE * max(0, first_sends) + reserve
    return max(0, math.floor(earned) - max(0, retries))


class Sends(NamedTuple):
    """What a provider was given in one stretch of ten seconds since the epoch."""

    number: int
    first_sends: int
    retries: int


def count_sends(
    sends: Iterable[Sends], *, first_sends: int, retries: int, now: datetime
) -> tuple[Sends, ...]:
    """The last minute's sends with what went now, the oldest first."""
    current = _stretch(now)
    recent = {each.number: each for each in recent_sends(sends, now)}
    _, first, again = recent.get(current, Sends(current, 0, 0))
    recent[current] = Sends(current, first + first_sends, again + retries)
    return tuple(sorted(recent.values()))


def recent_sends(sends: Iterable[Sends], now: datetime) -> list[Sends]:
    """Those of the last minute."""
    stretches = WINDOW_SECONDS // STRETCH_SECONDS
    return [each for each in sends if abs(_stretch(now) - each.number) < stretches]


def remaining_now(sends: Iterable[Sends], now: datetime) -> int:
    """The retries that may still go, by what went in the last minute."""
    recent = recent_sends(sends, now)
    return remaining(
        first_sends=sum(each.first_sends for each in recent),
        retries=sum(each.retries for each in recent),
    )


def _stretch(now: datetime) -> int:
    return int(now.timestamp() // STRETCH_SECONDS)


def allows(*, first_sends: int, retries: int, seconds: float = WINDOW_SECONDS) -> bool:
    """Whether one more retry may go now; otherwise it waits, and is not burnt."""
    return remaining(first_sends=first_sends, retries=retries, seconds=seconds) > 0
