"""manage.py rebuild_stats: rebuild the statistics from the records."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import date
from typing import Any

from django.core.management.base import CommandError

from messaging.rebuild import RecordIsGone, rebuild_statistics
from routing.rules.tally import Key, Tally
from routing.signals import report
from routing.statistics.entries import compact_entries
from routing.terminal import PlainCommand
from routing.vocabulary import Channel


class Command(PlainCommand):
    """Counts attempts and messages again, and corrects the statistics."""

    help = (
        "Rebuild the statistics from the messages and attempts on record. Safe while "
        "workers run. Days with pruned records are left as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since",
            type=_day,
            metavar="DATE",
            help="the first day (UTC) to correct, such as 2026-01-31",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only show differences"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry_run = options["dry_run"]
        try:
            differing = self._rebuild(options["since"], is_dry_run)
        except RecordIsGone as error:
            raise CommandError(str(error)) from error
        verb = "differ" if is_dry_run else "were corrected"
        self.stdout.write(f"{differing} tallies {verb}.")
        if not is_dry_run:
            report("rebuild statistics", since=options["since"], corrected=differing)
            while compact_entries():
                pass

    def _rebuild(self, since: date | None, is_dry_run: bool) -> int:
        differing = 0
        for correction in rebuild_statistics(since=since, is_dry_run=is_dry_run):
            for key, tally in correction.tallies():
                self.stdout.write(_line(key, tally))
                differing += 1
        return differing


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not a date such as 2026-01-31."
        ) from error


def _line(key: Key, tally: Tally) -> str:
    where = f"{key.day} {Channel(key.channel).label} {key.provider}".strip()
    changes = (f"{name} {count:+}" for name, count in sorted(tally.counts.items()))
    return f"{where}: {', '.join(changes)}"
