"""An installation that tests have for themselves: commands run on its database."""

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
# Nobody listens there: receipts that no test waits for go nowhere, and not to the
# default port, where somebody may be serving a database of their own.
NOWHERE = "http://127.0.0.1:1"

T = TypeVar("T")


class Installation:
    """A database and a directory of its own; its providers are simulated."""

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
        """As README.md says, after migrating."""
        self.run("loaddata", "-v0", "default_routes")

    def run(self, *arguments: str) -> str:
        """Run a command to its end; returns what it printed.

        AssertionError, with all that it wrote, when it fails.
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


def wait_until(condition: Callable[[], T], *, seconds: float = 60.0) -> T:
    """What the condition gives once it is true; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not happen within {seconds} s.")
        time.sleep(0.05)
    return found
