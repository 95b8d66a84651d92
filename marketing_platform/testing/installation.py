"""An installation for a single test: commands run on its own database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from django.conf import settings

MANAGE = str(settings.BASE_DIR / "manage.py")
# Nothing listens there: receipts that no test waits for must not reach the default
# port, where another installation may be running.
NOWHERE = "http://127.0.0.1:1"

T = TypeVar("T")


class Installation:
    """A database and a directory of its own, with simulated providers."""

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str,
        simulator_port: int,
        **environment: str,
    ) -> None:
        self.environment = os.environ | {
            "STATE_DIR": str(directory),
            "DATABASE_URL": database_url,
            "DATABASE_URL_FILE": "",
            "PROVIDER_SIMULATOR_PORT": str(simulator_port),
            "PUBLIC_URL": NOWHERE,
            "LOG_LEVEL": "WARNING",
            **environment,
        }

    def add_default_routes(self) -> None:
        """Add them after migrating, as in README.md."""
        self.run("loaddata", "-v0", "default_routes")

    def run(self, *arguments: str) -> str:
        """Run a command to its end; returns its output.

        Raises AssertionError, with all output, if it fails.
        """
        done = subprocess.run(
            [sys.executable, MANAGE, *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise AssertionError(f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def start(
        self, *arguments: str, log: IO[bytes] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command that writes to the log or a pipe; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, MANAGE, *arguments],
            env=self.environment,
            stdout=log or subprocess.PIPE,
            stderr=log or subprocess.PIPE,
            text=True,
        )


def wait_until(condition: Callable[[], T], *, seconds: float = 120.0) -> T:
    """The condition's value once it is true; raises AssertionError if it never is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not happen within {seconds} s.")
        time.sleep(0.05)
    return found
