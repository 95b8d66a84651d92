"""The rows that a benchmark prints: a measured number, and the bar it must clear."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`value` in `unit`; `bar` is its minimum or, with `is_most`, its maximum."""

    what: str
    value: float
    unit: str
    bar: float | None = None
    is_most: bool = False

    @property
    def is_cleared(self) -> bool | None:
        """Whether the bar is cleared; None if there is none."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.is_most else self.value >= self.bar

    @property
    def verdict(self) -> str:
        """The bar in words; "" if there is none."""
        if self.bar is None:
            return ""
        limit = f"{'<=' if self.is_most else '>='} {self.bar:g}"
        return f"{limit} {'ok' if self.is_cleared else 'MISSED'}"

    def emit(self) -> None:
        """Pass the row to the process that prints the table."""
        sys.stdout.write(json.dumps(asdict(self)) + "\n")
        sys.stdout.flush()


def as_line(row: Row) -> str:
    """The row as the table shows it."""
    digits = 0 if abs(row.value) >= 100 else 2
    value = f"{row.value:,.{digits}f}"
    return f"  {row.what:<58} {value:>12} {row.unit:<10} {row.verdict}".rstrip()


def progress(text: str) -> None:
    """Say on stderr what takes so long."""
    print(f"  ... {text}", file=sys.stderr, flush=True)
