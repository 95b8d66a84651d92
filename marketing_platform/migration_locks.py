"""Migrations wait for locks in short tries, without blocking other processes.

A statement waiting for a lock on a table blocks all that come after it: an ALTER TABLE
behind a long report or a `pg_dump` would stop every writer until that ends. So a try is
given up after `LOCK_SECONDS`, and repeated after a pause in which the others continue.
A statement outside a transaction is repeated by itself; a migration in a transaction,
as a whole.

Building an index CONCURRENTLY blocks no other process, so it may wait. The remains of
an interrupted build are removed before the next one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

LOCK_SECONDS = 2.0
PAUSES = (1.0, 5.0)  # seconds, at least and at most
_LOCKED_OUT = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
_BUILD = re.compile(
    r"\ACREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?\"?(?P<name>\w++)",
    re.IGNORECASE,
)
_CONCURRENTLY = re.compile(
    r"\A(?:CREATE|DROP|REINDEX)\b[^(]{0,80}\bCONCURRENTLY\b", re.IGNORECASE
)
_UNFINISHED = (
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"
)
_OLD_TRANSACTIONS = """
    SELECT pid, usename, application_name, state, now() - xact_start
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND xact_start < now() - interval '1 second'
    ORDER BY xact_start LIMIT 3
"""


class LockedOut(Exception):
    """The lock was not available in time."""


@dataclass
class LockPatience:
    """How a run of `migrate` waits for locks of a PostgreSQL database."""

    connection: BaseDatabaseWrapper
    say: Callable[[str], object]
    seconds: float  # in total
    lock_seconds: float = LOCK_SECONDS
    pauses: tuple[float, float] = PAUSES
    rng: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.seconds

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Within this context no statement waits for long."""
        self._set_timeout(self.lock_seconds)
        try:
            with self.connection.execute_wrapper(self._execute):
                yield
        finally:
            if self.connection.is_usable():
                self._set_timeout(0)

    def pause(self, error: OperationalError) -> None:
        """Let other processes continue. Raises LockedOut when the time is up, and
        errors that have nothing to do with locks.
        """
        if not is_locked_out(error):
            raise error
        if time.monotonic() > self._deadline:
            raise LockedOut(
                f"Gave up after waiting {self.seconds:.0f} s for a lock. {self._who()} "
                "End it, or run this again later: applied migrations stay."
            ) from error
        self.say(f"Waiting for a lock. {self._who()}")
        time.sleep(self.rng.uniform(*self.pauses))

    def _execute(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        """Called for each statement of the migrations."""
        if self.connection.in_atomic_block:
            return execute(sql, params, many, context)
        if _CONCURRENTLY.match(str(sql)):
            return self._build(execute, sql, params, many, context)
        while True:
            try:
                return execute(sql, params, many, context)
            except OperationalError as error:
                self.pause(error)

    def _build(self, execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
        if match := _BUILD.match(str(sql)):
            self._drop_unfinished(match["name"])
        self._set_timeout(0)
        try:
            return execute(sql, *rest)
        finally:
            self._set_timeout(self.lock_seconds)

    def _drop_unfinished(self, name: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(_UNFINISHED, [f'"{name}"'])
            if cursor.fetchone():
                self.say(f"The index {name} is unfinished and will be rebuilt.")
                cursor.execute(f'DROP INDEX CONCURRENTLY "{name}"')

    def _set_timeout(self, seconds: float) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(seconds * 1000)}")

    def _who(self) -> str:
        with self.connection.cursor() as cursor:
            cursor.execute(_OLD_TRANSACTIONS)
            rows = cursor.fetchall()
        if not rows:
            return "No transaction is older than one second."
        return "Oldest transactions: " + "; ".join(
            f"process {pid} ({', '.join(filter(None, [user, program]))}), {state} for "
            f"{timedelta(seconds=int(age.total_seconds()))}"
            for pid, user, program, state, age in rows
        )


def is_locked_out(error: OperationalError) -> bool:
    """Whether another process holds the lock; nothing was done then."""
    return getattr(error.__cause__, "sqlstate", None) in _LOCKED_OUT
