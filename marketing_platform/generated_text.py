"""Parts of documents written by commands, between two marks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Section:
    """The lines of `page` from `begin` to `end`; both marks are lines and stay."""

    page: str  # relative to the project's root
    begin: str
    end: str
    padding: str = "\n\n"  # Markdown needs blank lines

    def filled(self, page: str, text: str) -> str:
        """The page with this text between the marks; ValueError if it lacks one."""
        before, begin, rest = page.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise ValueError(f"The page lacks {self.begin!r} or {self.end!r}.")
        return f"{before}{begin}{self.padding}{text}{self.padding}{end}{after}"

    def write(self, text: str) -> None:
        """Fill the page in the current directory; or raise FileNotFoundError."""
        path = Path(self.page)
        page = path.read_text(encoding="utf-8")
        path.write_text(self.filled(page, text), encoding="utf-8")
