"""Where the demo runs: a directory, free ports, and the settings of its processes."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from routing.simulators.process import free_base_port

# Set for the process that runs the actual demo, with the settings below.
DIRECTORY_VARIABLE = "DEMO_DIRECTORY"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo runs."""

    directory: Path
    public_url: str
    simulator_port: int
    database_url: str

    @classmethod
    def build(cls, database_url: str) -> Stage:
        """A new directory under the state directory, and ports that are free now.

        Without a `database_url` the database is a SQLite file in that directory.
        """
        directory = Path(tempfile.mkdtemp(prefix="demo-", dir=settings.STATE_DIR))
        return cls(
            directory,
            f"http://127.0.0.1:{free_port()}",
            free_base_port(),
            database_url or f"sqlite:///{directory / 'demo.sqlite3'}",
        )

    @classmethod
    def present(cls) -> Stage | None:
        """The stage that this process was started with, if any."""
        if not (directory := os.environ.get(DIRECTORY_VARIABLE)):
            return None
        port = int(os.environ["PROVIDER_SIMULATOR_PORT"])
        return cls(
            Path(directory), settings.PUBLIC_URL, port, os.environ["DATABASE_URL"]
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all processes of the demo.

        Times are short, so that an outage and the recovery fit into a minute.
        """
        return os.environ | {
            DIRECTORY_VARIABLE: str(self.directory),
            "DATABASE_URL": self.database_url,
            "DATABASE_URL_FILE": "",
            "PUBLIC_URL": self.public_url,
            "PROVIDER_SIMULATOR_PORT": str(self.simulator_port),
            "PROVIDER_TIMEOUT_SECONDS": "5",
            "QUEUE_LEASE_SECONDS": "12",
            "QUEUE_VERDICT_SECONDS": "15",
            "QCLUSTER_PATIENCE_SECONDS": "15",
            "DEBUG": "0",
            "LOG_LEVEL": "WARNING",
        }


def free_port() -> int:
    """A TCP port that is free now; it may be taken before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def web_command(public_url: str) -> list[str]:
    """Serves back office and webhooks at this URL of the loopback interface."""
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "marketing_platform.wsgi",
        f"--bind={public_url.removeprefix('http://')}",
        f"--config={settings.BASE_DIR / 'gunicorn.conf.py'}",
        f"--chdir={settings.BASE_DIR}",
        "--workers=1",
        "--no-control-socket",
    ]
