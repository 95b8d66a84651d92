"""The database's clock, used for leases and sweeps.

Workers on several hosts agree on when a lease ends only if they read one clock. A
host's clock may be wrong or jump; the database's is the same for all.
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
    """The database server's time; with SQLite, which has no server, the host's."""
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
    """Gives the database's time without a query each time.

    The thread that owns the connection reads the database's clock now and then
    (`sync`). In between this runs on the monotonic clock, which changes of the host's
    time do not affect, so that any thread may read it. Before the first reading it
    gives the host's time.
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
        """Read the database's clock, at most every two seconds.

        The reading lies somewhere between query and reply; the error is at most half
        of that time.
        """
        if not self._timer.comes_round():
            return
        asked, host = self._monotonic(), self._host()
        answer = self._read()
        midway = timedelta(seconds=self._monotonic() - asked) / 2
        self._anchor = (answer - midway, asked)
        self.skew = host - self._anchor[0]
