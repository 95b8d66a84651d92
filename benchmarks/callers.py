"""Those who post webhook calls: connections that are kept, one call at a time in each.

Raw asyncio and requests that are ready to go, so that they cost as little as may be:
they share the machine with what is measured.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Posted(NamedTuple):
    """How calls were answered."""

    seconds: float
    statuses: dict[int, int]  # HTTP status -> how many
    waits: Sequence[float]  # seconds from each call to its answer, in order of size

    def percentile(self, share: float) -> float:
        """Within how many seconds this share of the calls was answered."""
        return self.waits[min(len(self.waits) - 1, int(len(self.waits) * share))]


def post_all(requests: Sequence[bytes], *, port: int, callers: int) -> Posted:
    """Post them, as fast as they are answered, from a process of its own."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(int).result()  # it is up
        return pool.submit(_post_all, requests, port, callers).result()


class Callers:
    """Posts what it is given, by this many connections at most."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.statuses: Counter[int] = Counter()
        self.waits: list[float] = []
        self._left = count
        self._idle: list[_Caller] = []
        self._waiting: deque[bytes] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def unanswered(self) -> int:
        """How many calls wait, as all connections are taken."""
        return len(self._waiting)

    def post(self, request: bytes) -> None:
        """Post it as soon as a connection is free."""
        if self._idle:
            self._idle.pop().call(request)
            return
        self._waiting.append(request)
        if self._left:
            self._left -= 1
            self.connect()

    def connect(self) -> None:
        """Open a connection, which takes what waits."""
        task = asyncio.get_running_loop().create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answered(self, caller: _Caller, status: int, seconds: float) -> None:
        """Called by a connection; it takes the next call."""
        self.statuses[status] += 1
        self.waits.append(seconds)
        self.take(caller)

    def take(self, caller: _Caller) -> None:
        """Give it what has waited for the longest."""
        if self._waiting:
            caller.call(self._waiting.popleft())
        else:
            self._idle.append(caller)

    def leave(self, caller: _Caller) -> None:
        """Called by a connection that was closed; another takes its place."""
        if caller in self._idle:
            self._idle.remove(caller)
        self._left += 1
        if self._waiting:
            self._left -= 1
            self.connect()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: _Caller(self), "127.0.0.1", self.port)


class _Caller(asyncio.Protocol):
    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._buffer = b""
        self._called_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._callers.take(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._called_at:
            self._callers.statuses[0] += 1  # no answer at all
        self._callers.leave(self)

    def call(self, request: bytes) -> None:
        self._called_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(_HEAD)
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head)
        if len(self._buffer) < head + len(_HEAD) + (int(length[1]) if length else 0):
            return
        status, self._buffer = int(self._buffer[9:12]), b""
        seconds, self._called_at = time.perf_counter() - self._called_at, 0.0
        self._callers.answered(self, status, seconds)


def _post_all(requests: Sequence[bytes], port: int, callers: int) -> Posted:
    return asyncio.run(_post_until_answered(requests, port, callers))


async def _post_until_answered(
    requests: Sequence[bytes], port: int, count: int
) -> Posted:
    callers = Callers(port, count)
    started = time.perf_counter()
    for request in requests:
        callers.post(request)
    while callers.statuses.total() < len(requests):
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - started
    return Posted(seconds, dict(callers.statuses), sorted(callers.waits))
