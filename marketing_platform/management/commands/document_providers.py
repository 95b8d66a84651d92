"""manage.py document_providers: the providers and the options they declare."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from marketing_platform.provider_docs import EXAMPLE, TABLES, example, tables
from marketing_platform.provider_settings import provider_classes
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = "List the providers and their options, as Markdown."

    def add_arguments(self, parser: CommandParser) -> None:
        """Called by Django."""
        parser.add_argument(
            "--write",
            action="store_true",
            help=f"write to {TABLES.page} and {EXAMPLE.page} instead of printing",
        )

    def handle(self, *args: Any, write: bool, **options: Any) -> None:
        """Called by Django."""
        classes = provider_classes()
        if not write:
            self.stdout.write(tables(classes))
            return
        for section, text in (
            (TABLES, tables(classes)),
            (EXAMPLE, example(classes)),
        ):
            try:
                section.write(text)
            except FileNotFoundError:
                raise CommandError(
                    f"{section.page} not found: run this in the project's root."
                ) from None
            self.stdout.write(f"{section.page} is up to date.")
