"""What commands write to a terminal: text of others may be in it, but commands nothing.

Providers, recipients and files have a say in what is printed. Their control characters
appear as escapes, and their square brackets and colons are no markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from django.core.management.base import BaseCommand, OutputWrapper
from rich.console import Console
from rich.text import Text

from routing.text.safe_text import escaped


class PlainOutput(OutputWrapper):
    """Colours are put on afterwards, by Django."""

    def write(self, msg: str = "", *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Called for whatever a command prints, and for its errors."""
        super().write(escaped(str(msg), keep_lines=True), *args, **kwargs)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        """As they are, as any stream does."""
        for line in lines:
            self.write(line, ending="")


class PlainCommand(BaseCommand):
    """Base of all our commands."""

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        **options: Any,
    ) -> None:
        super().__init__(stdout, stderr, **options)
        style = self.stderr.style_func
        self.stdout = PlainOutput(stdout or sys.stdout)
        self.stderr = PlainOutput(stderr or sys.stderr)
        self.stderr.style_func = style

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Django makes outputs of its own for those that a caller gives."""
        for name in ("stdout", "stderr"):
            if options.get(name):
                options[name] = PlainOutput(options[name], ending="")
        return super().execute(*args, **options)


class PlainConsole(Console):
    """rich's console, which takes what it prints by the letter."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Called for each text, also for those in tables."""
        return super().render_str(escaped(text, keep_lines=True), **options)
