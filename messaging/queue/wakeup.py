"""Waking a waiting worker: NOTIFY on PostgreSQL, a short poll on SQLite.

A wake-up is only a hint: the message table is the queue, and a worker that missed one
finds its work at the next poll.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.db import connection, transaction

from routing.timer import Timer

CHANNEL = "messages_due"
# SQLite has no NOTIFY. One look at an index costs some 0.1 ms.
SQLITE_POLL = timedelta(milliseconds=100)
NOW_AND_THEN = timedelta(milliseconds=100)
_now_and_then = Timer(NOW_AND_THEN, is_over=True)


def notify_workers() -> None:
    """Tell waiting workers, once the transaction commits, that messages are due."""
    if connection.vendor == "postgresql":
        transaction.on_commit(_notify)


def notify_workers_now_and_then() -> None:
    """The same where there is news all the time: a worker that was woken a moment ago
    still looks by itself. At most one call in `NOW_AND_THEN` for each process.
    """
    if connection.vendor == "postgresql" and _now_and_then.comes_round():
        transaction.on_commit(_notify)


def _notify() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {CHANNEL}")


class Waiter:
    """Lets one worker wait for wake-ups on its own database connection."""

    def __init__(self) -> None:
        self._listening_on: object = None

    def wait(self, at_most: timedelta) -> bool:
        """Return when woken, or when the time is over; whether it was woken."""
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
        """LISTEN once per connection; a new connection must ask again."""
        connection.ensure_connection()
        if self._listening_on is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._listening_on = connection.connection
