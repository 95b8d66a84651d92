"""Separate hosts for workers: network namespaces that can be cut off.

Each has one virtual cable to the outside with an address; relays make the providers,
which listen on the outer loopback interface, reachable on its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from marketing_platform.demo.child_process import Child
from marketing_platform.testing.installation import wait_until

NETWORK = "10.213.0.0/16"
RELAY = [sys.executable, "-m", "marketing_platform.testing.faults.relay"]


class HostsNotPossible(Exception):
    """Network namespaces cannot be created on this machine; the text says why."""


@dataclass(slots=True)
class Host:
    """One network namespace, numbered from 1."""

    number: int
    ports: Sequence[int]  # on the outer loopback interface
    relays: list[Child] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"faults{os.getpid()}n{self.number}"

    @property
    def cable(self) -> str:
        """The name of the outer end, of at most 15 characters."""
        return f"f{os.getpid()}o{self.number}"

    @property
    def gateway(self) -> str:
        """The outside's address on the cable."""
        return f"{self._subnet}.1"

    @property
    def _subnet(self) -> str:
        """One that another run on this machine is unlikely to use."""
        return f"10.213.{os.getpid() % 80 * 3 + self.number}"

    def command(self, *command: str) -> list[str]:
        """The command, run on this host."""
        return ["ip", "netns", "exec", self.name, *command]

    def build(self) -> None:
        """Create namespace, cable, addresses, and relays to the providers."""
        inner = f"f{os.getpid()}i{self.number}"
        _ip("netns", "add", self.name)
        _ip(*f"link add {self.cable} type veth peer name {inner}".split())
        _ip("link", "set", inner, "netns", self.name)
        _ip("addr", "add", f"{self.gateway}/30", "dev", self.cable)
        _ip("link", "set", self.cable, "up")
        address = f"{self._subnet}.2/30"
        _ip("-n", self.name, "addr", "add", address, "dev", inner)
        _ip("-n", self.name, "link", "set", inner, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")
        within = [f"127.0.0.1:{port}={self.gateway}:{port}" for port in self.ports]
        without = [f"{self.gateway}:{port}=127.0.0.1:{port}" for port in self.ports]
        self.relays = [
            Child("relay", self.command(*RELAY, *within)),
            Child("relay", [*RELAY, *without]),
        ]
        for relay in self.relays:
            relay.start()

    def cut_off(self) -> None:
        """Pull the cable: packets are lost, without any error."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self.cable, "up")

    def remove(self) -> None:
        """Remove everything."""
        for relay in self.relays:
            relay.kill()
        subprocess.run(["ip", "link", "del", self.cable], check=False)
        subprocess.run(["ip", "netns", "del", self.name], check=False)

    def sees(self, port: int) -> bool:
        """Whether something listens on this port of its loopback interface."""
        probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
        done = subprocess.run(
            self.command(sys.executable, "-c", probe), check=False, capture_output=True
        )
        return done.returncode == 0


@contextmanager
def hosts(count: int, *, ports: Sequence[int]) -> Iterator[list[Host]]:
    """`count` hosts, for as long as the block lasts; may raise HostsNotPossible."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        raise HostsNotPossible("network namespaces need root and iproute2")
    with ExitStack() as stack:
        built = [Host(number, ports) for number in range(1, count + 1)]
        for host in built:
            stack.callback(host.remove)
            try:
                host.build()
            except subprocess.CalledProcessError as error:
                raise HostsNotPossible(f"ip said: {error.stderr.strip()}") from error
        wait_until(lambda: all(host.sees(ports[0]) for host in built))
        yield built


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
