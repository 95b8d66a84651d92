"""manage.py erase_recipient: take one recipient out of all that is stored."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from messaging.consent.erasure import IN_FLIGHT, erase
from messaging.consent.personal_data import DataSubject
from messaging.management.arguments import add_address
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = (
        "Erase a phone number or e-mail address, in whichever spelling, from messages "
        "with their texts, attempts, receipts as they came, inbound messages and kept "
        "answers. What waits for it is withdrawn. Rows stay, without the person: "
        "statistics, costs and campaigns are as they were. Suppressions stay as well, "
        "so that a no is not forgotten."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address(parser)
        parser.add_argument(
            "--with-suppressions",
            action="store_true",
            help="also forget that the address must get nothing",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="count, and change nothing"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        subject, is_dry_run = DataSubject(options["address"]), options["dry_run"]
        counts = erase(
            subject,
            now=timezone.now(),
            is_dry_run=is_dry_run,
            with_suppressions=options["with_suppressions"],
        )
        in_flight = counts[IN_FLIGHT]
        kept = subject.suppressions.count()
        self.stdout.write(
            json.dumps({**counts, "suppressions kept": kept})
            if options["json"]
            else _sentence(counts, kept, is_dry_run)
        )
        if in_flight and not is_dry_run:
            raise CommandError(
                "Messages that are being sent, or of which nobody knows yet whether "
                f"they were: {in_flight}. Run it again when they have ended."
            )


def _sentence(counts: Counter[str], kept: int, is_dry_run: bool) -> str:
    listed = ", ".join(
        f"{kind} {count:,}"
        for kind, count in counts.items()
        if count and kind != IN_FLIGHT
    )
    done = "Would erase" if is_dry_run else "Erased"
    keeps = f" Suppressions that stay: {kept}." if kept else ""
    return f"{done}: {listed or 'nothing'}.{keeps}"
