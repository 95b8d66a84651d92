"""No worker waits for ever for a database that does not answer.

TCP notices a peer that is gone, but not one whose answers are lost on the way: a proxy
between the two may hang, and still acknowledge every packet. So the server ends long
statements, and a thread ends the process when its main loop comes round no more.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

logger = logging.getLogger(__name__)

LOOK_EVERY = timedelta(seconds=0.5)
# Once the process has been told to end: supervisors kill after 30 s or more.
AFTER_STOP = timedelta(seconds=20)
EXIT_STATUS = 75  # EX_TEMPFAIL: a supervisor starts it again


class HangGuard:
    """Ends the process if no `beat` comes for `patience`: what it holds runs out.

    Time is counted in looks of its own thread, so that a process that was frozen is not
    taken for one that hangs.
    """

    def __init__(
        self, patience: timedelta, *, end: Callable[[], object] | None = None
    ) -> None:
        self._patience = patience
        self._end = end or _end_process
        self._beats = 0
        self._is_over = threading.Event()

    def start(self) -> None:
        """From now on, beats are expected."""
        self._is_over.clear()
        if self._patience:
            threading.Thread(target=self._watch, name="hang guard", daemon=True).start()

    def beat(self) -> None:
        """The main loop has come round."""
        self._beats += 1

    def hurry(self) -> None:
        """The process has been told to end. Called in a signal handler."""
        self._patience = min(self._patience, AFTER_STOP)

    def stop(self) -> None:
        """No more beats are expected."""
        self._is_over.set()

    def _watch(self) -> None:
        seen, silence = self._beats, timedelta(0)
        while not self._is_over.wait(LOOK_EVERY.total_seconds()):
            if seen != self._beats:
                seen, silence = self._beats, timedelta(0)
            silence += LOOK_EVERY
            if silence >= self._patience:
                logger.critical(
                    "Ended: for %d s the database, or something else, has not let this "
                    "process go on. Its messages are recovered when their leases end.",
                    silence.total_seconds(),
                )
                self._end()
                return


def _end_process() -> None:
    """At once: whatever hangs would also hold up an orderly exit."""
    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
    os._exit(EXIT_STATUS)


class StatementLimit:
    """A time limit for the statements of one worker's connection, on PostgreSQL.

    Set by a statement, because poolers refuse options on connecting; not at all where
    the settings say that a pooler shares connections, as it would affect others.
    """

    def __init__(self) -> None:
        self._set_on: object = None
        self._milliseconds = int(settings.WORKER_STATEMENT_TIMEOUT * 1000)

    def set(self) -> None:
        """Once per connection; a new connection needs it again."""
        is_shared = connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
        if connection.vendor != "postgresql" or is_shared or not self._milliseconds:
            return
        connection.ensure_connection()
        if self._set_on is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = {self._milliseconds}")
            self._set_on = connection.connection

    def lift(self) -> None:
        """What else this process does on the connection has no limit."""
        if self._set_on is None or self._set_on is not connection.connection:
            return
        with suppress(DatabaseError, InterfaceError), connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
        self._set_on = None
