"""The demo's children: started, watched, and stopped by their own ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.conf import settings

STOP_SECONDS = 40  # longer than a drain of the cluster may take


class Child:
    """A process in a session of its own, so that its own children end with it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Without an `environment` of its own it gets ours."""
        self.name = name
        self.restarts = 0
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output goes to the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def restart(self) -> None:
        """End what is left of it at once, and start it again."""
        self.signal(signal.SIGKILL)
        self._wait()
        self.restarts += 1
        self.start()

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
        try:
            if self._process is not None:
                os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass

    def _wait(self) -> None:
        try:
            if self._process is not None:
                self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)


def web_command(public_url: str) -> list[str]:
    """Serves back office and webhooks at this URL of the loopback interface."""
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "marketing_platform.wsgi",
        f"--bind={public_url.removeprefix('http://')}",
        f"--chdir={settings.BASE_DIR}",
        "--threads=8",
        "--no-control-socket",
    ]
