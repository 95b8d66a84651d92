"""Processor time of processes and all that they have started, as Linux counts it.

User and system time, from /proc: what a benchmark takes of the machine, whatever else
keeps it busy. Of a PostgreSQL server it is that of all its processes, so that nobody
else may work on it meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.db import connection

_TICKS = os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    pid: int
    parent: int
    seconds: float  # with those of its children that have ended


def seconds_of(*roots: int) -> float:
    """What these processes and all below them have taken so far."""
    processes = {each.pid: each for each in _processes()}
    return sum(
        each.seconds for each in processes.values() if _is_below(each, roots, processes)
    )


def database_server() -> list[int]:
    """The process of PostgreSQL's server, of which all others are children.

    None with SQLite, which works within ours. AssertionError for a server elsewhere.
    """
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = _read(cursor.fetchone()[0])
    assert backend, "PostgreSQL must run on this host for its time to be known"
    return [backend.parent]


def _processes() -> Iterator[_Process]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and (process := _read(int(path.name))):
            yield process


def _read(pid: int) -> _Process | None:
    """None when it has just ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:15]))
    return _Process(pid, int(fields[1]), ticks / _TICKS)


def _is_below(
    process: _Process, roots: tuple[int, ...], processes: dict[int, _Process]
) -> bool:
    pid = process.pid
    while pid in processes:
        if pid in roots:
            return True
        pid = processes[pid].parent
    return False
