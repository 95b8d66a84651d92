"""Waking a waiting worker: NOTIFY on PostgreSQL, a short poll on SQLite.

A wake-up is only a hint: the message table is the queue, and a worker that misses one
finds the work at its next poll.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.db import connection, transaction

from routing.timer import Timer

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
