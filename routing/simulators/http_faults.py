"""How an HTTP answer goes wrong, for all vendors.

Each function gets the answer that the vendor would have given, or None if the message
is not accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from routing.simulators.faults import Fault, FaultKind

Misbehaviour = Callable[
    [Fault, web.BaseRequest, web.Response | None], Awaitable[web.StreamResponse]
]

_POLL_SECONDS = 0.1
_CHUNK = b"x" * 65536


async def _slow(
    fault: Fault, request: web.BaseRequest, response: web.Response | None
) -> web.StreamResponse:
    await asyncio.sleep(fault.delay)
    return response or web.Response(status=504)


async def _hang(
    fault: Fault, request: web.BaseRequest, response: web.Response | None
) -> web.StreamResponse:
    while request.transport is not None:
        await asyncio.sleep(_POLL_SECONDS)
    return web.Response()  # never sent


async def _drop(
    fault: Fault, request: web.BaseRequest, response: web.Response | None
) -> web.StreamResponse:
    if isinstance(request.transport, asyncio.Transport):
        request.transport.abort()
    return web.Response()  # never sent


async def _garbage(
    fault: Fault, request: web.BaseRequest, response: web.Response | None
) -> web.StreamResponse:
    return web.Response(
        status=response.status if response else 200,
        body=b'\x00\xff{"sid": "SM',
        content_type="application/json",
    )


async def _huge(
    fault: Fault, request: web.BaseRequest, response: web.Response | None
) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status if response else 200)
    stream.content_type = "application/json"
    await stream.prepare(request)
    for _ in range(fault.megabytes * 16):
        await stream.write(_CHUNK)
    return stream


async def _drip(
    fault: Fault, request: web.BaseRequest, response: web.Response | None
) -> web.StreamResponse:
    for byte in _serialise(response or web.Response()):
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            break
        transport.write(bytes([byte]))
        await asyncio.sleep(fault.interval)
    if request.transport is not None:
        request.transport.close()
    return web.Response()  # never sent


def _serialise(response: web.Response) -> bytes:
    body = response.body if isinstance(response.body, bytes) else b""
    headers = response.headers.copy()
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines])
    return head.encode() + b"\r\n\r\n" + body


MISBEHAVIOURS: dict[FaultKind, Misbehaviour] = {
    FaultKind.SLOW: _slow,
    FaultKind.HANG: _hang,
    FaultKind.DROP: _drop,
    FaultKind.GARBAGE: _garbage,
    FaultKind.HUGE: _huge,
    FaultKind.DRIP: _drip,
}
