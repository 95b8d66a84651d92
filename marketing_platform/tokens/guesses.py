"""Limits made-up tokens: guessing 222 bits is hopeless, but each try costs a look-up.

Kept per process, not in the database: unauthenticated calls must not write there.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from threading import Lock
from typing import NamedTuple

from routing.rules import throttle as gcra

RATE, BURST = 2.0, 100.0  # per second from one address, and at once
MOST_ADDRESSES = 10_000
NEWS_EVERY = timedelta(hours=1)  # per address
MOST_NEWS = 60  # in that time, for all addresses


class Refusal(NamedTuple):
    """The response to a token that does not exist."""

    wait: timedelta  # 0: just wrong, not throttled
    is_news: bool  # whether to log it


class Guesses:
    """Counts each address's recent tries."""

    def __init__(self) -> None:
        self._throttles: OrderedDict[str, gcra.Throttle] = OrderedDict()
        self._told: OrderedDict[str, datetime] = OrderedDict()
        self._lock = Lock()

    def note(self, address: str, *, now: datetime) -> Refusal:
        """Count one try."""
        with self._lock:
            before = self._throttles.pop(address, gcra.Throttle(RATE, BURST))
            after = gcra.take(before, 1, now)
            self._throttles[address] = after or before
            if len(self._throttles) > MOST_ADDRESSES:
                self._throttles.popitem(last=False)
            if after is not None:
                return Refusal(timedelta(0), is_news=False)
            return Refusal(gcra.wait_for(before, 1, now), self._is_news(address, now))

    def _is_news(self, address: str, now: datetime) -> bool:
        while self._told and next(iter(self._told.values())) <= now - NEWS_EVERY:
            self._told.popitem(last=False)
        if address in self._told or len(self._told) >= MOST_NEWS:
            return False
        self._told[address] = now
        return True
