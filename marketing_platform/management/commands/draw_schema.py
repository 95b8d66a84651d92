"""manage.py draw_schema: a diagram of the database's tables, from the models."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from marketing_platform.schema_drawing import DRAWING, drawn
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = "Draw the database schema from the models, as Markdown with Mermaid."

    def add_arguments(self, parser: CommandParser) -> None:
        """Called by Django."""
        parser.add_argument(
            "--write",
            action="store_true",
            help=f"write to {DRAWING.page} instead of printing",
        )

    def handle(self, *args: Any, write: bool, **options: Any) -> None:
        """Called by Django."""
        if not write:
            self.stdout.write(drawn())
            return
        try:
            DRAWING.write(drawn())
        except FileNotFoundError:
            raise CommandError(
                f"{DRAWING.page} not found: run this in the project's root."
            ) from None
        self.stdout.write(f"{DRAWING.page} is up to date.")
