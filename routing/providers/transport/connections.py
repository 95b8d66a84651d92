"""Persistent HTTP connections, each tied to the call that uses it.

On Python's own client, in threads: with 200 calls of 100 ms in flight, it was measured
to take half the processor time of urllib3, whose pool also opens a new connection, with
a TLS handshake, for every call beyond its size.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any

from routing.providers.transport.deadline import current_call

ANSWER_LIMIT = 1 << 20  # bytes
# A server that closes an idle connection just as we write to it leaves the outcome
# unknown, so none is reused that has been idle for about as long as servers wait.
IDLE_SECONDS = 10.0

Origin = tuple[str, str, int | None]  # scheme, host, port


class Connections:
    """The connections of one process. Safe to use from many threads."""

    def __init__(self) -> None:
        self._idle: defaultdict[Origin, deque[Connection]] = defaultdict(deque)

    def take(self, origin: Origin) -> Connection:
        """The most recently used one that is still alive, else a new one."""
        idle = self._idle[origin]
        with contextlib.suppress(IndexError):
            while connection := idle.pop():
                if connection.is_usable():
                    return connection
                connection.close()
        scheme, host, port = origin
        if scheme == "https":
            return _TLSConnection(host, port, context=self._tls)
        if scheme == "http":
            return Connection(host, port)
        raise ValueError("The URL is neither http nor https.")

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Keep it if it is still open, and close those that were idle for too long.

        Its call releases it first: another thread may take it at once.
        """
        current_call().let_go()
        connection.released_at = time.monotonic()
        idle = self._idle[origin]
        if connection.sock is not None:
            idle.append(connection)
        with contextlib.suppress(IndexError):
            while idle[0].is_stale():
                idle.popleft().close()

    def close(self) -> None:
        """Close the idle ones."""
        for idle in self._idle.values():
            with contextlib.suppress(IndexError):
                while connection := idle.pop():
                    connection.close()

    def __del__(self) -> None:
        """Leave no sockets behind when the client is garbage-collected."""
        self.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


class _FinalResponse(HTTPResponse):
    """Waits for the final answer. Python's own skips only "100 Continue": it takes any
    other 1xx for the answer, and leaves the real one to the connection's next call.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        is_interim = HTTPStatus.CONTINUE <= status < HTTPStatus.OK
        return version, HTTPStatus.CONTINUE if is_interim else status, reason


class Connection(HTTPConnection):
    """Tells the current call which socket it uses, and when the first byte leaves."""

    response_class = _FinalResponse
    released_at = 0.0
    _outgoing = b""

    def exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        """The answer and its body. Closes the connection if anything raises."""
        try:
            plain = {**headers, "Accept-Encoding": "identity"}
            self.request(method, target, body=body, headers=plain)
            self._flush()
            response = self.getresponse()
            return response, _read(response)
        except BaseException:
            self.close()
            raise

    def is_stale(self) -> bool:
        """Whether it has been idle for too long."""
        return time.monotonic() - self.released_at > IDLE_SECONDS

    def is_usable(self) -> bool:
        """Whether it may be written to."""
        return not (self.sock is None or self.is_stale() or is_closing(self.sock))

    def connect(self) -> None:
        """Connect within the call's deadline."""
        self.sock = current_call().connect(self.host, self.port)

    def send(self, data: Any) -> None:
        """Buffer what `request` writes, so that head and body leave together."""
        self._outgoing += data

    def _flush(self) -> None:
        data, self._outgoing = self._outgoing, b""
        if self.sock is None:
            self.connect()
        call = current_call()
        call.use(self.sock)  # again: the connection may be an old one
        self.sock.settimeout(call.remaining())
        call.is_written = True
        self.sock.sendall(data)


class _TLSConnection(Connection):
    default_port = 443

    def __init__(self, host: str, port: int | None, *, context: ssl.SSLContext) -> None:
        super().__init__(host, port)
        self._context = context

    def connect(self) -> None:
        super().connect()
        plain = self.sock
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        current_call().use(self.sock)


def is_closing(idle: socket.socket) -> bool:
    """Whether the server has sent something unasked: it is closing the connection."""
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))


def _read(response: HTTPResponse) -> bytes:
    """The whole body. A read with a limit does not notice a body that was cut off."""
    body = response.read(ANSWER_LIMIT + 1)
    if len(body) > ANSWER_LIMIT:
        raise HTTPException(f"The answer is longer than {ANSWER_LIMIT} bytes.")
    if response.length:
        raise IncompleteRead(body, response.length)
    return body
