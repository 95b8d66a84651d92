"""manage.py prune_audit: clear away old events of the audit log, and record that."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent
from routing.signals import report
from routing.terminal import PlainCommand
from routing.text.quantities import quantity

BATCH_SIZE = 1000
# Recent acts must not be cleared away by the person who did them.
YOUNGEST = timedelta(days=30)


class Command(PlainCommand):
    help = (
        "Clear away events of the audit log above an age. This is recorded as an event "
        "itself. Unless you run it, the log is kept for ever."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--after", type=_age, required=True, metavar="AGE", help="such as 730d"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before, count = timezone.now() - options["after"], 0
        report("prune audit log", before=before)
        while cleared := self._clear(before):
            count += cleared
        self.stdout.write(
            f"Cleared: {quantity(count, 'event')} from before {before:%Y-%m-%d}."
        )

    @transaction.atomic
    def _clear(self, before: datetime) -> int:
        return AuditEvent.objects.purge(before=before, at_most=BATCH_SIZE)


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})d", text)
    age = timedelta(days=int(match[1])) if match else timedelta(0)
    if age < YOUNGEST:
        raise ArgumentTypeError(
            f"{text!r} is not an age: give {YOUNGEST.days}d or more, such as 730d."
        )
    return age
