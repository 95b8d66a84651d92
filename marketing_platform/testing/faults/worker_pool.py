"""Forks workers from a process that has already loaded the code.

Loading a worker takes most of a second of processor time, and it is killed within
another: with hundreds of them, loading would dominate. At the fork the process has no
connections and no threads, so the child is a normal worker.
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
    """A worker started by the pool, in a session of its own."""

    def __init__(self, pid: int) -> None:
        self.group = pid

    @property
    def is_running(self) -> bool:
        """Whether it is alive; the pool reaps the dead at once."""
        return Path(f"/proc/{self.group}").exists()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.group, number)

    def stop(self) -> None:
        """Kill it."""
        self.signal(signal.SIGKILL)


class WorkerPool:
    """Starts workers, from a process of its own that ends with us."""

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
        """Start a worker with the arguments of `fault_injection`."""
        orders, answers = self._process.stdin, self._process.stdout
        if orders is None or answers is None:
            raise RuntimeError("The worker pool has no pipes.")
        orders.write(json.dumps(arguments) + "\n")
        orders.flush()
        return Forked(int(answers.readline()))

    def close(self) -> None:
        """End the pool; its workers keep running."""
        self._process.communicate(timeout=30)


def main() -> None:
    """Fork a worker for each line of arguments, and print its process id."""
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
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # stdout is for process ids
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        fault_injection.main(arguments)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
