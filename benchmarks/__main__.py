"""Run benchmarks, each in its own process and on its own database.

    python -m benchmarks [--json] [NAME ...]

BENCH_SCALE=full raises the largest sizes from hundreds of thousands of rows to
millions. A benchmark that takes too long is killed; the others still run. The exit
status is 1 if a bar is missed or something could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from benchmarks.children import Failed, rows_of
from benchmarks.databases import Databases, environment_of, open_databases
from benchmarks.results import Results
from benchmarks.rows import Row, as_line

BOTH = ("postgresql", "sqlite")
# Module -> the databases it runs on. Modules are imported only in child processes,
# because each of those binds Django to its database.
BENCHMARKS = {
    "claim_record": BOTH,
    "backlog": BOTH,
    "campaigns": BOTH,
    "contention": ("postgresql",),
    "end_to_end": BOTH,
    "punctuality": BOTH,
    "receipts": BOTH,
    "round_trip": BOTH,
    "outage": BOTH,
    "reads": BOTH,
    "back_office": ("postgresql",),
    "loading": BOTH,
    "memory": ("postgresql",),
}
LIMITS = {"default": 300, "full": 3600}  # seconds, for each

Say = Callable[[str], None]


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}")
    # On SIGTERM, also end the server and the workers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    table = sys.stderr if arguments.json else sys.stdout
    results = _run(names, partial(print, file=table, flush=True))
    if arguments.json:
        json.dump(results.as_document(), sys.stdout, indent=2)
        print()
    return results.exit_status


def _run(names: list[str], say: Say) -> Results:
    kinds = {kind for name in names for kind in BENCHMARKS[name]}
    results = Results(_machine())
    say(", ".join(f"{key}: {value}" for key, value in results.machine.items()))
    with open_databases(kinds) as databases:
        for name in names:
            for kind in BENCHMARKS[name]:
                _measure(name, kind, databases[kind], results, say)
    say(f"\n{results.summary()}")
    return results


def _measure(
    name: str, kind: str, databases: Databases, results: Results, say: Say
) -> None:
    title = f"{name} ({kind})"
    say(f"\n{title}")
    rows = results.rows[title] = []
    try:
        for row in _rows(name, databases):
            rows.append(row)
            say(as_line(row))
    except Failed as error:
        results.failures[title] = str(error)
        say(f"  FAILED: {error}")


def _rows(name: str, databases: Databases) -> Iterator[Row]:
    """The rows of a benchmark, as they come, on its own database."""
    try:
        yield from rows_of(
            [sys.executable, "-m", "benchmarks.child", name],
            environment=environment_of(databases.fresh(name)),
            limit=LIMITS[_scale()],
        )
    finally:
        databases.drop(name)


def _scale() -> str:
    return "full" if os.environ.get("BENCH_SCALE") == "full" else "default"


def _machine() -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "scale": _scale(),
    }


if __name__ == "__main__":
    sys.exit(main())
