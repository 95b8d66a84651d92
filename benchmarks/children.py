"""Run a benchmark in its own process, and kill it if it takes too long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Timer

from benchmarks.rows import Row


class Failed(Exception):
    """A benchmark could not be completed."""


def rows_of(
    command: Sequence[str], *, environment: Mapping[str, str], limit: float
) -> Iterator[Row]:
    """The rows that the process prints, as they come. Failed if it fails or takes
    longer than `limit` seconds.
    """
    with _running(command, environment, limit) as child:
        assert child.stdout
        for line in child.stdout:
            yield Row(**json.loads(line))
    if child.returncode == -signal.SIGKILL:
        raise Failed(f"It was killed because it took longer than {limit:g} seconds.")
    if child.returncode:
        raise Failed(f"It ended with status {child.returncode}; see above.")


@contextmanager
def _running(
    command: Sequence[str], environment: Mapping[str, str], limit: float
) -> Iterator[subprocess.Popen[str]]:
    """Run the process; it and the workers that it starts end with the block."""
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        timer = Timer(limit, _kill_all, [child])
        timer.start()
        try:
            yield child
            child.wait()
        finally:
            timer.cancel()
            _kill_all(child)


def _kill_all(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
