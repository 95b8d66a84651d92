"""The database's clock, which leases and sweeps go by.

Workers on many hosts agree on when a lease ends only if they read one clock. A host's
may be wrong, and may jump; the database's is the same for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from routing.timer import Timer

READ_EVERY = timedelta(seconds=2)


def database_now() -> datetime:
    """The database server's time. SQLite has no server: there, it is the host's."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def clock_skew() -> timedelta:
    """How far this host's clock is ahead of the database's; negative: behind."""
    clock = DatabaseClock()
    clock.sync()
    return clock.skew


class DatabaseClock:
    """Tells the database's time without asking for it each time.

    Read now and then by the thread that owns the connection (`sync`); between, it runs
    on the monotonic clock, which no change of the host's time moves, so that any thread
    may look at it. Before the first reading it shows the host's time.
    """

    def __init__(
        self,
        *,
        read: Callable[[], datetime] = database_now,
        host: Callable[[], datetime] = timezone.now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.skew = timedelta(0)  # of the host: see `clock_skew`
        self._read, self._host, self._monotonic = read, host, monotonic
        self._anchor = (host(), monotonic())
        self._timer = Timer(READ_EVERY, is_over=True)

    def __call__(self) -> datetime:
        read_at, anchored = self._anchor
        return read_at + timedelta(seconds=self._monotonic() - anchored)

    def sync(self) -> None:
        """Read the database's clock, at most every other second.

        It was read somewhere between question and answer: half of that is the error.
        """
        if not self._timer.comes_round():
            return
        asked, host = self._monotonic(), self._host()
        answer = self._read()
        midway = timedelta(seconds=self._monotonic() - asked) / 2
        self._anchor = (answer - midway, asked)
        self.skew = host - self._anchor[0]
