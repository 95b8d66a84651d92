"""The HTTP server of one vendor, whose connections can be closed while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

_SHUTDOWN_SECONDS = 0.5
_LARGEST_REQUEST = 30 * 2**20  # bytes, SendGrid's limit


class HttpVendor:
    """Answers a vendor's requests on the connections that its listener accepts."""

    def __init__(self, routes: list[web.RouteDef]) -> None:
        app = web.Application(
            middlewares=[self._notice], client_max_size=_LARGEST_REQUEST
        )
        app.add_routes(routes)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        self._busy: set[asyncio.BaseProtocol] = set()

    async def start(self) -> Callable[[], asyncio.BaseProtocol]:
        """Start; returns the protocol factory for new connections."""
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("aiohttp has not set up a server.")
        return self._runner.server

    async def stop(self) -> None:
        """Close all connections."""
        await self._runner.cleanup()

    def hang_up(self) -> None:
        """Close idle connections now, and busy ones after their answer.

        aiohttp's own `close()` leaves idle connections open that are never read.
        """
        if self._runner.server is None:
            return
        for connection in self._runner.server.connections:
            if connection in self._busy:
                connection.close()
            else:
                connection.force_close()

    @web.middleware
    async def _notice(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        self._busy.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)
