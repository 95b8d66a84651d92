"""The measurements of fault tests: a JSON line per test, and a table of them.

python -m marketing_platform.testing.faults.evidence docs/reliability.md < lines
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
OF_THE_UNKNOWN = ("recovered", "flagged")
NO_FIGURES = "–"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fault on one database, and the result."""

    row: str  # the number of the fault
    name: str  # of the test, for -k
    done: str  # the fault
    holds: str  # what must hold
    database: str
    figures: dict[str, int | float]
    measured_at: str = field(
        default_factory=lambda: datetime.now(UTC).date().isoformat()
    )
    machine: str = field(default_factory=lambda: machine())


def machine() -> str:
    """The kind of machine this is."""
    return (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def keep(evidence: Evidence, path: Path) -> None:
    """Append one line."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(evidence)) + "\n")


def table(lines: Iterable[str]) -> str:
    """The table in Markdown; if there are several measurements, the last one counts."""
    found: dict[tuple[str, str], dict[str, Evidence]] = {}
    latest = None
    for line in lines:
        latest = Evidence(**json.loads(line))
        found.setdefault((latest.row, latest.name), {})[latest.database] = latest
    if latest is None:
        return "Nothing was measured."
    head = [
        f"Measured on {latest.measured_at} ({latest.machine}).",
        "",
        f"| # | what is done | what holds | {' | '.join(DATABASES.values())} | -k |",
        "|---|---|---|---|---|---|",
    ]
    rows = sorted(found.items(), key=lambda item: _order(item[0][0]))
    return "\n".join([*head, *(_row(by_database) for _, by_database in rows)])


def _order(row: str) -> tuple[int, str]:
    number = re.match("[0-9]+", row)
    return int(number[0]) if number else 999, row


def _row(by_database: dict[str, Evidence]) -> str:
    one = next(iter(by_database.values()))
    figures = [
        _figures(by_database[name].figures) if name in by_database else NO_FIGURES
        for name in DATABASES
    ]
    cells = (one.row, one.done, one.holds, *figures, f"`{one.name}`")
    return f"| {' | '.join(cells)} |"


def _figures(figures: dict[str, int | float]) -> str:
    if not figures.get("unknown"):
        figures = {k: v for k, v in figures.items() if k not in OF_THE_UNKNOWN}
    return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in figures.items())


def put_into(document: str, measured: str) -> str:
    """The document with the new table between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured}\n{END}{after}"


def main(path: Path, lines: Iterable[str]) -> None:
    """Write the table into the document."""
    path.write_text(put_into(path.read_text(), table(lines)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin)
