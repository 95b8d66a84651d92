"""manage.py prune: delete old data."""

from __future__ import annotations

import json
import re
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from messaging.retention import Policy, prune
from routing.signals import report
from routing.terminal import PlainCommand

UNITS = {"d": "days", "h": "hours"}
AGES = {
    "messages_after": "finished messages, with their attempts and receipts",
    "attempts_after": "attempts and receipts of finished messages",
    "inbound_after": "texts received from handsets",
    "content_after": "texts of messages, and raw receipts; the rest stays",
}


class Command(PlainCommand):
    help = (
        "Delete data older than the given ages, in small batches; safe while workers "
        "run. Statistics stay. Ages are days or hours: 400d, 12h."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name, what in AGES.items():
            flag = f"--{name.replace('_', '-')}"
            parser.add_argument(flag, type=_age, metavar="AGE", help=what)
        parser.add_argument(
            "--dry-run", action="store_true", help="only count; change nothing"
        )
        parser.add_argument(
            "--pause",
            type=float,
            default=0.02,
            help="seconds between batches, to spare the workers (default %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        policy = Policy(**{name: options[name] for name in AGES})
        if policy == Policy():
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in AGES)
            raise CommandError(f"Say what to delete: give at least one of {flags}.")
        counts: Counter[str] = Counter()
        is_dry_run = options["dry_run"]
        if not is_dry_run:
            report("prune", **asdict(policy))
        for batch in prune(policy, now=timezone.now(), is_dry_run=is_dry_run):
            counts[batch.step] += batch.count
            if not is_dry_run:
                time.sleep(options["pause"])
        self.stdout.write(
            json.dumps(counts) if options["json"] else _sentence(counts, is_dry_run)
        )


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([dh])", text)
    if match is None or int(match[1]) == 0:
        raise ArgumentTypeError(
            f"{text!r} is not an age: give days or hours, such as 400d or 12h."
        )
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _sentence(counts: Counter[str], is_dry_run: bool) -> str:
    listed = ", ".join(f"{what} {count:,}" for what, count in counts.items() if count)
    return f"{'Would prune' if is_dry_run else 'Pruned'}: {listed or 'nothing'}."
