"""manage.py erase_recipient: erase all data about one recipient."""

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
        "Erase a phone number or e-mail address, in any spelling, from messages and "
        "their texts, attempts, raw receipts, inbound messages and stored responses. "
        "Messages queued for it are withdrawn. Rows stay, without the person, so that "
        "statistics, costs and campaigns do not change. Suppressions stay too, so that "
        "opt-outs keep working."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address(parser)
        parser.add_argument(
            "--with-suppressions",
            action="store_true",
            help="also delete the address's suppressions",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only count; change nothing"
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
                "Messages being sent, or whose outcome is not known yet: "
                f"{in_flight}. Run this again when they are finished."
            )


def _sentence(counts: Counter[str], kept: int, is_dry_run: bool) -> str:
    listed = ", ".join(
        f"{kind} {count:,}"
        for kind, count in counts.items()
        if count and kind != IN_FLIGHT
    )
    done = "Would erase" if is_dry_run else "Erased"
    keeps = f" Suppressions kept: {kept}." if kept else ""
    return f"{done}: {listed or 'nothing'}.{keeps}"
