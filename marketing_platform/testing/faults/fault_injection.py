"""Runs a management command with an injected fault.

    python -m marketing_platform.testing.faults.fault_injection --crash after_accept:3
    -- \
        process_queue --watch

After a provider's third answer the process kills itself, like `kill -9`. The engine
itself has no such points: they are added around its functions from here.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import datetime, timedelta
from pkgutil import resolve_name
from typing import Any, NamedTuple

import django
from django.core.management import execute_from_command_line
from django.utils import timezone


class Point(NamedTuple):
    """A function of the engine, and whether to strike before or after it."""

    function: str
    is_after: bool


POINTS = {
    # The claim is written, its transaction still open.
    "before_claim_commit": Point("messaging.queue.claim_sql:mark_claimed", True),
    "after_claim_commit": Point("messaging.queue.claim:Claimer.claim", True),
    "before_send": Point("messaging.queue.window:send", False),
    "after_accept": Point("messaging.queue.window:send", True),
    # Messages are settled and attempts appended, in a still open transaction.
    "before_record_commit": Point("messaging.queue.record_sql:record", True),
    "after_record_commit": Point("messaging.queue.results:record", True),
    # Receipts were taken from the inbox but nothing is written; then everything is
    # written but the transaction still open; then it is committed.
    "before_apply": Point("messaging.queue.receipts:match_all", False),
    "before_apply_commit": Point("messaging.queue.receipts:_write", True),
    "after_apply_commit": Point("messaging.queue.receipts:count_strays", False),
}


class Crash:
    """Ends the process the nth time it passes a point, counted from 1.

    With `recipient`, only sends to that one count. SIGSTOP as the `ending` freezes the
    process instead.
    """

    def __init__(
        self, *, at: int, recipient: str = "", ending: signal.Signals = signal.SIGKILL
    ) -> None:
        self._left = at
        self._ending = ending
        self._recipient = recipient
        self._lock = threading.Lock()

    def pass_by(self, arguments: dict[str, Any]) -> None:
        """Count a passing, and end the process if it is the right one."""
        recipients = {load.message.recipient for load in arguments.get("requests", ())}
        if self._recipient and self._recipient not in recipients:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._ending)


def set_trap(point: Point, crash: Crash) -> None:
    """Put the crash before or after the function, for all later calls."""
    path, _, name = point.function.rpartition(
        "." if "." in point.function.partition(":")[2] else ":"
    )
    owner = resolve_name(path)
    function = getattr(owner, name)

    @functools.wraps(function)
    def trapped(*args: Any, **kwargs: Any) -> Any:
        if not point.is_after:
            crash.pass_by(kwargs)
        result = function(*args, **kwargs)
        if point.is_after:
            crash.pass_by(kwargs)
        return result

    setattr(owner, name, trapped)


def set_clock(offset: timedelta, now: Callable[[], datetime] = timezone.now) -> None:
    """Shift this process's clock."""
    timezone.now = lambda: now() + offset


def main(arguments: list[str]) -> None:
    """Set up the faults, then run the command."""
    options = _read(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketing_platform.settings")
    if options.clock:
        set_clock(timedelta(seconds=options.clock))
    django.setup()
    if options.crash:
        name, _, number = options.crash.partition(":")
        crash = Crash(
            at=int(number or 1),
            recipient=options.recipient,
            ending=signal.Signals[options.ending],
        )
        set_trap(POINTS[name], crash)
    execute_from_command_line(["manage.py", *options.command])


def _read(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="fault_injection")
    parser.add_argument("--crash", default="", metavar="POINT[:NTH]")
    parser.add_argument("--recipient", default="", help="count only sends to this one")
    parser.add_argument("--ending", default="SIGKILL", choices=["SIGKILL", "SIGSTOP"])
    parser.add_argument("--clock", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
