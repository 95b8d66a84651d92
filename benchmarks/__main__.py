"""Run benchmarks, each in a process and on a database of its own.

    python -m benchmarks [--json] [NAME ...]

BENCH_SCALE=full takes the sizes of the large rows from the hundred thousands to the
millions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks.databases import Databases, environment_of, open_databases
from benchmarks.rows import Row, as_line

BOTH = ("postgresql", "sqlite")
# Module -> the databases it runs on. They are imported in children only: each of those
# binds Django to its database.
BENCHMARKS = {
    "claim_record": BOTH,
    "backlog": BOTH,
    "end_to_end": BOTH,
    "punctuality": BOTH,
    "reads": BOTH,
    "loading": BOTH,
    "memory": ("postgresql",),
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print JSON, no table")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    results = _run(names, is_quiet=arguments.json)
    if arguments.json:
        json.dump({**_machine(), "results": results}, sys.stdout, indent=2)
        print()


def _run(names: list[str], *, is_quiet: bool) -> dict[str, list[dict[str, Any]]]:
    kinds = {kind for name in names for kind in BENCHMARKS[name]}
    results: dict[str, list[dict[str, Any]]] = {}
    say = _nothing if is_quiet else print
    say(", ".join(f"{key}: {value}" for key, value in _machine().items()))
    with open_databases(kinds) as databases:
        for name in names:
            for kind in BENCHMARKS[name]:
                say(f"\n{name} ({kind})", flush=True)
                rows = results[f"{name} ({kind})"] = []
                for row in _rows(name, databases[kind]):
                    rows.append(asdict(row))
                    say(as_line(row), flush=True)
    return results


def _rows(name: str, databases: Databases) -> Iterator[Row]:
    """What the benchmark tells, as it comes."""
    command = [sys.executable, "-m", "benchmarks.child", name]
    environment = environment_of(databases.fresh(name))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        for line in child.stdout:
            yield Row(**json.loads(line))
    databases.drop(name)
    if child.returncode:
        raise SystemExit(f"The benchmark {name} failed.")


def _machine() -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": str(os.cpu_count()),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "scale": os.environ.get("BENCH_SCALE", "default"),
    }


def _nothing(*_: object, **__: object) -> None:
    pass


if __name__ == "__main__":
    main()
