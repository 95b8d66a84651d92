"""Runs the simulators as a child process, for tests, the demo and benchmarks."""

from __future__ import annotations

import random
import select
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from routing.simulators.client import SimulatorClient
from routing.simulators.credentials import PORT_OFFSETS
from routing.simulators.handset import read_handset_log
from routing.simulators.simulation import SimulationOptions

__all__ = ["SimulatorNotStarted", "SimulatorProcess", "read_handset_log"]

_MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
# Below the ports that the system uses for outgoing connections.
_BASE_PORTS = range(20000, 30000, 10)
_START_SECONDS = 30
_STOP_SECONDS = 10


class SimulatorNotStarted(Exception):
    """The simulators did not start."""


class SimulatorProcess:
    """The simulators in a process of their own, as a context manager.

    The handset log goes to `directory`; without one it is temporary, and deleted when
    the context ends. A free `base_port` is chosen if none is given.
    """

    def __init__(
        self,
        options: SimulationOptions | None = None,
        *,
        directory: Path | None = None,
        base_port: int | None = None,
    ) -> None:
        self.options = options or SimulationOptions()
        self._temporary = tempfile.TemporaryDirectory() if directory is None else None
        folder = Path(self._temporary.name) if self._temporary else directory
        self.handset_log = Path(folder or ".") / "handset.jsonl"
        self._wanted_port = base_port
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> SimulatorProcess:
        self.base_port = self._wanted_port or free_base_port()
        self.handset_log.touch()
        self._child = subprocess.Popen(  # noqa: S603 (our own command)
            self._command(), stdout=subprocess.PIPE, text=True
        )
        try:
            _wait_until_ready(self._child)
        except BaseException:
            self._stop()
            raise
        self.client = SimulatorClient(self.base_port)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _command(self) -> list[str]:
        options = self.options
        arguments = {
            "port": self.base_port,
            "handset-log": self.handset_log.absolute(),
            "public-url": options.public_url,
            "receipt-delay": options.receipt_delay,
            "undelivered-share": options.undelivered_share,
            "off-share": options.off_share,
            "off-seconds": options.off_seconds,
            "duplicate-receipt-share": options.duplicate_receipt_share,
            "latency": options.latency,
        }
        flags = [] if options.receipts else ["--no-receipts"]
        if options.seed is not None:
            arguments["seed"] = options.seed
        return [
            sys.executable,
            str(_MANAGE),
            "simulate_providers",
            "--with-parent",
            *(f"--{name}={value}" for name, value in arguments.items()),
            *flags,
        ]

    def _stop(self) -> None:
        """End the child: SIGTERM first, SIGKILL if that does not help."""
        child = self._child
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()
        if self._temporary is not None:
            self._temporary.cleanup()


def free_base_port() -> int:
    """A base port whose whole range is free now; it may be taken before it is used."""
    # In random order, so that two processes that search at once rarely collide.
    for base_port in random.sample(_BASE_PORTS, len(_BASE_PORTS)):
        if all(_is_free(base_port + offset) for offset in PORT_OFFSETS.values()):
            return base_port
    raise SimulatorNotStarted("No range of ports from 20000 to 30000 is free.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_until_ready(child: subprocess.Popen[str]) -> None:
    if child.stdout is None:
        raise SimulatorNotStarted("The child has no output to read.")
    readable, _, _ = select.select([child.stdout], [], [], _START_SECONDS)
    line = child.stdout.readline() if readable else ""
    if not line.startswith("ready"):
        raise SimulatorNotStarted(
            f"Expected 'ready' within {_START_SECONDS} s, got {line!r}; see the error "
            "on stderr."
        )
