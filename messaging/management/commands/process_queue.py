"""manage.py process_queue: send the messages that are due."""

from __future__ import annotations

import json
import signal
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from messaging.queue.coordination import database_now
from messaging.queue.results import Report
from messaging.queue.worker import Limits, Processor, problem_with_lease
from messaging.queue_status import Wait, is_work_waiting, last_errors, waits
from messaging.vocabulary import WorkerKind
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = (
        "Send the messages that are due. On SIGTERM or Ctrl-C it claims no more, waits "
        "for messages in flight, records their results, and exits."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--once", action="store_true", help="exit when nothing is due (default)"
        )
        mode.add_argument(
            "--watch",
            action="store_true",
            help="keep running, and send messages as they fall due",
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=settings.QUEUE_BATCH_SIZE,
            help="messages per claim, 1 to 50 (default %(default)s)",
        )
        parser.add_argument(
            "--window",
            type=int,
            default=settings.QUEUE_WINDOW,
            help="messages in flight at once (default %(default)s)",
        )
        parser.add_argument(
            "--max-messages", type=int, help="claim at most this many messages in all"
        )
        parser.add_argument(
            "--json", action="store_true", help="print the report as JSON"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := problem_with_lease():
            raise CommandError(problem)
        processor = Processor(
            kind=WorkerKind.COMMAND,
            limits=_limits(options),
            idle_limit=None if options["watch"] else timedelta(0),
        )
        if not options["watch"]:
            # Fails now if the database is down; with --watch the worker waits for it.
            is_work_waiting(database_now())

        def stop(number: int, frame: FrameType | None) -> None:
            processor.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        report = processor.run()
        now = database_now()
        # With --watch, exit at once after SIGTERM.
        waiting = [] if options["watch"] else waits(now=now)
        if options["json"]:
            self.stdout.write(json.dumps(_as_dict(report, waiting)))
            return
        self.stdout.write(_sentence(report))
        for line in _reasons(report, waiting, now):
            self.stdout.write(line)


def _limits(options: dict[str, Any]) -> Limits:
    for name in ("batch_size", "window", "max_messages"):
        value = options[name]
        if value is not None and value < 1:
            raise CommandError(f"--{name.replace('_', '-')} must be at least 1.")
    if options["batch_size"] > 50:
        raise CommandError("--batch-size must be at most 50.")
    return Limits(
        batch_size=options["batch_size"],
        window=options["window"],
        max_messages=options["max_messages"],
        hang_after=timedelta(seconds=settings.QUEUE_HANG_SECONDS),
    )


def _as_dict(report: Report, waiting: Sequence[Wait]) -> dict[str, Any]:
    shown = [
        {
            "count": each.count.number,
            "reason": each.reason,
            "next_at": each.next_at and each.next_at.isoformat(),
        }
        for each in waiting
    ]
    return asdict(report) | {"waiting": shown}


def _sentence(report: Report) -> str:
    figures = {k: v for k, v in asdict(report).items() if k != "ended"}
    counts = ", ".join(f"{number} {name}" for name, number in figures.items())
    return f"Done: {counts}."


def _reasons(report: Report, waiting: Sequence[Wait], now: datetime) -> Iterator[str]:
    """Why messages ended unsent, and why others still wait."""
    for reason, count in report.ended.items():
        yield f"{count} not sent: {reason.rstrip('.')}."
    yield from map(str, waiting)
    if waiting:
        for provider, error in last_errors(waiting, now=now).items():
            yield f"Last error of {provider}: {error.rstrip('.')}."
    if not (report.claimed or report.ended or waiting):
        yield "The queue is empty."
