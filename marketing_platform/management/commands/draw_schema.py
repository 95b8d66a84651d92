"""manage.py draw_schema: the database's tables, drawn from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from marketing_platform.schema_drawing import PAGE, drawn, with_drawing
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = "Draw the database schema from the models, as Markdown with Mermaid."

    def add_arguments(self, parser: CommandParser) -> None:
        """Called by Django."""
        parser.add_argument(
            "--write",
            action="store_true",
            help=f"put it into {PAGE} instead of printing it",
        )

    def handle(self, *args: Any, write: bool, **options: Any) -> None:
        """Called by Django."""
        if not write:
            self.stdout.write(drawn())
            return
        page = Path(PAGE)
        if not page.exists():
            raise CommandError(f"{PAGE} is not here: run it from the project's root.")
        page.write_text(with_drawing(page.read_text(encoding="utf-8")), "utf-8")
        self.stdout.write(f"{page} is up to date.")
