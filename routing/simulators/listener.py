"""A listening socket that can be closed and opened again while the process runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

HOST = "127.0.0.1"
_BACKLOG = 2048


class PortTaken(Exception):
    """It is impossible to listen on the port."""


class Listener:
    """One vendor's port on the loopback interface."""

    def __init__(
        self,
        name: str,
        port: int,
        *,
        protocol: Callable[[], asyncio.BaseProtocol],
        hang_up: Callable[[], None],
    ) -> None:
        self.name = name
        self.port = port
        self._protocol = protocol
        self._hang_up = hang_up
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, unless it already does."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._protocol, HOST, self.port, backlog=_BACKLOG
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise PortTaken(
                f"Port {self.port} ({self.name}) cannot be used: {reason}. "
                "Choose another base port with --port."
            ) from error

    def close(self) -> None:
        """Refuse new connections and close idle ones; busy ones finish first."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._hang_up()
