"""Output of commands on a terminal, made safe against text from outside.

Text of providers, recipients and files may be part of the output. Its control
characters appear as escapes, and its square brackets and colons are not markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from django.core.management.base import BaseCommand, OutputWrapper
from rich.console import Console
from rich.text import Text

from routing.text.untrusted import escaped


class PlainOutput(OutputWrapper):
    """Escapes control characters. Django adds colours afterwards."""

    def write(self, msg: str = "", *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Called for everything a command prints, and for its errors."""
        super().write(escaped(str(msg), keep_lines=True), *args, **kwargs)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        """Write the lines without adding line ends, like any stream."""
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
        """Django wraps outputs given by a caller in its own class; undo that."""
        for name in ("stdout", "stderr"):
            if options.get(name):
                options[name] = PlainOutput(options[name], ending="")
        return super().execute(*args, **options)


class PlainConsole(Console):
    """rich's console without markup and emoji codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Called for each text, including those in tables."""
        return super().render_str(escaped(text, keep_lines=True), **options)
