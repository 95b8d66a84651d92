"""How workers on any number of hosts work together: through the database.

They go by one clock, since they must agree on when a lease ends, and a host's clock may
be wrong or jump. Each writes a heartbeat. A waiting one is woken when there is work: by
NOTIFY on PostgreSQL; on SQLite it polls. A wake-up is only a hint: the message table is
the queue, and a worker that misses one finds the work at its next poll.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.vocabulary import WorkerKind
from routing.look_ups import providers_to_ask, sent_as
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


BEAT_EVERY = timedelta(seconds=1)
FORGET_AFTER = timedelta(days=1)


class Heartbeat:
    """Keeps one worker's row up to date, and deletes it when the worker leaves."""

    def __init__(
        self, *, owner: int, kind: WorkerKind, clock: Callable[[], datetime]
    ) -> None:
        self._owner = owner
        self._kind = kind
        self._clock = clock
        self._started_at = clock()
        self._sends_as = {name: sent_as(name) for name in providers_to_ask()}
        self._timer = Timer(BEAT_EVERY, is_over=True)

    def beat(self, *, in_flight: int, clock_skew: timedelta, trouble: str = "") -> None:
        """Write the row, at most once a second."""
        if not self._timer.comes_round():
            return
        values = {
            "beat_at": self._clock(),
            "in_flight": in_flight,
            "clock_skew": clock_skew,
            "trouble": trouble,
        }
        # One statement: a worker that waits out an outage does little else.
        if not WorkerHeartbeat.objects.filter(owner=self._owner).update(**values):
            self._begin(values)

    def _begin(self, values: Mapping[str, Any]) -> None:
        WorkerHeartbeat.objects.create(
            owner=self._owner,
            kind=self._kind,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            sends_as=self._sends_as,
            **values,
        )

    def end(self) -> None:
        """Delete the row, and those of workers and clusters that died long ago."""
        long_ago = self._clock() - FORGET_AFTER
        WorkerHeartbeat.objects.filter(owner=self._owner).delete()
        for heartbeats in (WorkerHeartbeat.objects, ClusterHeartbeat.objects):
            heartbeats.filter(beat_at__lt=long_ago).delete()


CHANNEL = "messages_due"
# SQLite has no NOTIFY. A poll is one index probe, some 0.1 ms.
SQLITE_POLL = timedelta(milliseconds=100)
NOTIFY_EVERY = timedelta(milliseconds=100)
_notify_timer = Timer(NOTIFY_EVERY, is_over=True)


def notify_workers() -> None:
    """Wake waiting workers, because messages are due, once the transaction commits."""
    if connection.vendor == "postgresql":
        transaction.on_commit(_notify)


def notify_workers_now_and_then() -> None:
    """The same for frequent events, at most once per NOTIFY_EVERY and process: a worker
    that was woken a moment ago still polls by itself.
    """
    if connection.vendor == "postgresql" and _notify_timer.comes_round():
        transaction.on_commit(_notify)


def _notify() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {CHANNEL}")


class Waiter:
    """Waits for wake-ups on one worker's own database connection."""

    def __init__(self) -> None:
        self._listening_on: object = None

    def wait(self, at_most: timedelta) -> bool:
        """Wait until woken, or for at most this long; returns whether it was woken."""
        if connection.vendor != "postgresql":
            time.sleep(min(at_most, SQLITE_POLL).total_seconds())
            return False
        self._listen()
        with connection.wrap_database_errors:
            woken_by = connection.connection.notifies(
                timeout=at_most.total_seconds(), stop_after=1
            )
            return bool(list(woken_by))

    def _listen(self) -> None:
        """LISTEN once per connection; a new connection must do so again."""
        connection.ensure_connection()
        if self._listening_on is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._listening_on = connection.connection
