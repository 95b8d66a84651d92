"""manage.py import_suppressions: take over opt-outs made elsewhere."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from messaging.addresses import parse_address
from messaging.audience.recipients import RecipientFile, RecipientFileError
from messaging.audience.rejects_file import RejectsFile
from messaging.consent.opt_outs import suppress_all
from messaging.management.arguments import COUNTRY_IN, add_default_region
from messaging.vocabulary import SuppressionReason, SuppressionScope
from routing.terminal import PlainCommand
from routing.text.quantities import quantity
from routing.vocabulary import Channel

KINDS = {"phone": Channel.SMS, "email": Channel.EMAIL}
SCOPES = {scope.name.lower(): scope for scope in SuppressionScope}
REASONS = {reason.name.lower(): reason for reason in SuppressionReason}


class Command(PlainCommand):
    help = (
        "Suppress the addresses of a CSV file (UTF-8, with a header: 'phone' or "
        "'email', and 'country' for national numbers; other columns are ignored). "
        "Addresses already suppressed keep their reason, unless more is held back now. "
        "Rows that cannot be used go to FILE.rejected.csv with line, reason and all "
        "their cells."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--addresses", required=True, choices=KINDS)
        parser.add_argument("--reason", default="opted_out", choices=REASONS)
        parser.add_argument(
            "--scope",
            choices=SCOPES,
            help="what is held back; by default only marketing for e-mail addresses "
            "that opted out, and everything for others",
        )
        parser.add_argument(
            "--source",
            required=True,
            help="where they come from, such as 'former platform'",
        )
        add_default_region(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        rejects = RejectsFile(options["file"])
        try:
            rows = RecipientFile(
                options["file"],
                channel=KINDS[options["addresses"]],
                default_region=options["default_region"],
                country_in=COUNTRY_IN,
                parse=parse_address,  # also numbers that cannot be sent to
            )
            with rejects.of(rows):
                report = suppress_all(
                    rows,
                    reason=REASONS[options["reason"]],
                    source=options["source"],
                    scope=SCOPES.get(options["scope"]),
                    on_rejected=rejects.write,
                )
        except RecipientFileError as error:
            raise CommandError(f"{error}{rejects.hint} Nothing was changed.") from error
        if not any(report):
            self.stdout.write(f"{options['file']} has no rows. Nothing was changed.")
            return
        self.stdout.write(
            f"{report.added:,} suppressed, {report.known:,} already suppressed, "
            f"{quantity(report.rejected, 'row')} rejected.{rejects.hint}"
        )
