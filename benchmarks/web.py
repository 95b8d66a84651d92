"""Web servers as production runs them: gunicorn, with our configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from benchmarks.accounts import accounts
from benchmarks.stage import wait_until
from marketing_platform.demo.stage import free_port

ROOT = Path(__file__).resolve().parent.parent
OURS = "marketing_platform.wsgi"
BARE = "benchmarks.bare_webhook"


class Web(NamedTuple):
    """A server that answers."""

    port: int
    pid: int  # of the process that has started the others

    @property
    def url(self) -> str:
        """Its public one."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def web_server(application: str, **environment: str) -> Iterator[Web]:
    """gunicorn with two processes of eight threads, while the block lasts."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", f"{application}:application"]
    command += [f"--bind=127.0.0.1:{port}", "--no-control-socket"]
    command += [f"--config={ROOT / 'gunicorn.conf.py'}", "--log-level=warning"]
    own = {"PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with subprocess.Popen(
        command, env=os.environ | accounts() | own | environment
    ) as process:
        try:
            wait_until(lambda: _answers(port))
            yield Web(port, process.pid)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with suppress(OSError), closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    return False
