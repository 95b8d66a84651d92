"""manage.py export_recipient: all data stored about one recipient, as JSON."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.core.serializers.json import DjangoJSONEncoder

from messaging.consent.personal_data import DataSubject, export
from messaging.management.arguments import add_address
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = (
        "Print all data stored about a phone number or e-mail address, in any "
        "spelling, as JSON: messages with texts, attempts and receipts, inbound "
        "messages, suppressions and stored responses."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address(parser)
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help="write to a new file that only its owner may read",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        document = json.dumps(
            export(DataSubject(options["address"])),
            cls=DjangoJSONEncoder,
            ensure_ascii=False,
            indent=2,
        )
        if options["output"] is None:
            self.stdout.write(document)
        else:
            _write(options["output"], document)


def _write(path: Path, document: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(document + "\n")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
