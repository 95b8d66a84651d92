"""A child process with children of its own: started, watched, and ended as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

STOP_SECONDS = 40  # then it is killed


class Child:
    """A process in a session of its own, so that its own children end with it.

    Without a `log` it writes where we do; without an `environment` it has ours.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        if self._log is None:
            self._process = self._open(None)
            return
        with self._log.open("ab") as log:
            self._process = self._open(log.fileno())

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def group(self) -> int | None:
        """The process group of it and its children; None before it was started."""
        return self._process.pid if self._process else None

    def restart(self) -> None:
        """End what is left of it at once, and start it again."""
        self.kill()
        self.start()

    def kill(self) -> None:
        """End it, and whatever is left of its children, at once."""
        self.signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """Ask it to leave, and insist when it does not."""
        if self._process is None:
            return
        if self.is_running:
            self._process.terminate()
            self._wait()
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole session, of which the leader may be gone already."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _open(self, output: int | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own commands
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environment,
            start_new_session=True,
        )

    def _wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._process.wait()
