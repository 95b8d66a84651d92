"""The results of a run of benchmarks: as a summary, as JSON, and as an exit status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.rows import Row


@dataclass(slots=True)
class Results:
    """The rows of each benchmark that ran, and why others failed."""

    machine: Mapping[str, str]
    rows: dict[str, list[Row]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> list[str]:
        """The rows that do not clear their bars."""
        return [
            f"{name}: {row.what.strip()}"
            for name, rows in self.rows.items()
            for row in rows
            if row.is_cleared is False
        ]

    @property
    def exit_status(self) -> int:
        """0 if everything was measured and every bar is cleared, else 1."""
        return int(bool(self.missed or self.failures))

    def summary(self) -> str:
        """The lines below the table."""
        barred = [
            row for rows in self.rows.values() for row in rows if row.bar is not None
        ]
        lines = [f"{len(barred) - len(self.missed)} of {len(barred)} bars cleared"]
        lines += [f"  missed: {each}" for each in self.missed]
        lines += [f"  failed: {name}: {why}" for name, why in self.failures.items()]
        return "\n".join(lines)

    def as_document(self) -> dict[str, Any]:
        """All results, for JSON."""
        return {
            **self.machine,
            "results": {
                name: [{**asdict(row), "is_cleared": row.is_cleared} for row in rows]
                for name, rows in self.rows.items()
            },
            "missed": self.missed,
            "failures": self.failures,
        }
