"""Forks workers from a process that has loaded the code already.

A worker is loaded in most of a second of one processor, and then killed within another:
by the hundred, loading would be all that is measured. What is forked has no connection
and no thread yet, and is a process as any other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import django

from marketing_platform.testing.faults import fault_injection


class Forked:
    """A worker that the worker_pool has started, in a session of its own."""

    def __init__(self, pid: int) -> None:
        self.group = pid

    @property
    def is_running(self) -> bool:
        """Whether it lives; the worker_pool reaps the dead at once."""
        return Path(f"/proc/{self.group}").exists()

    def signal(self, number: signal.Signals) -> None:
        """Signal it."""
        with suppress(ProcessLookupError):
            os.kill(self.group, number)

    def stop(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)


class WorkerPool:
    """Starts workers, in a process of its own that ends with us."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def start(self, arguments: list[str]) -> Forked:
        """Start a worker with the arguments that `fault_injection` takes."""
        orders, answers = self._process.stdin, self._process.stdout
        if orders is None or answers is None:
            raise RuntimeError("The worker_pool has no pipes.")
        orders.write(json.dumps(arguments) + "\n")
        orders.flush()
        return Forked(int(answers.readline()))

    def close(self) -> None:
        """End it; its workers are their own."""
        self._process.communicate(timeout=30)


def main() -> None:
    """Fork a worker for each line of arguments, and say its process id."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketing_platform.settings")
    django.setup()
    import_module("messaging.management.commands.process_queue")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _work(json.loads(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _work(arguments: list[str]) -> None:
    os.setsid()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # which is for process ids
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        fault_injection.main(arguments)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
