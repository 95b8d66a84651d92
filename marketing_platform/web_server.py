"""A gunicorn worker that gives a request a thread only when it has arrived in full.

gunicorn's own threads read from sockets, so forty clients that each send half a request
would block all of them. Here waitress reads and writes in one loop, which no client can
block; gunicorn does what it is good at: several processes, restarts, signals.

Limits for a client: `IDLE_SECONDS` without a request, `READ_SECONDS` per request plus a
second for each `SLOWEST` bytes, and `WRITE_SECONDS` without reading any of the answer.
At the maximum number of connections, a new one replaces the one that has been idle, or
half sent, the longest.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

IDLE_SECONDS = 75.0  # above the 60 for which nginx keeps its connections
READ_SECONDS = 20.0
SLOWEST = 10_000  # bytes per second
WRITE_SECONDS = 30.0
WRITE_SECONDS_AT_MOST = 300.0
HEADER_LIMIT = 32_768  # bytes, all headers together
BODY_LIMIT = 10 * 1024 * 1024  # bytes; Django refuses most of that, with an answer
BUFFER_LIMIT = 256 * 1024 * 1024  # bytes of incomplete bodies
FILES_PER_CONNECTION = 3  # a socket, and bodies that do not fit into memory


class KeepingTask(WSGITask):  # type: ignore[misc]
    """A request whose connection stays open even after an answer without a body.

    Such an answer ends with its headers. It states no length, so waitress would close
    the connection: a new one for each receipt.
    """

    def set_close_on_finish(self) -> None:
        """Called with each reason to close."""
        asked = self.request.headers.get("CONNECTION", "").lower()
        if self.has_body or self.version != "1.1" or asked == "close":
            super().set_close_on_finish()


class PatientChannel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows how long it has waited for its client."""

    task_class = KeepingTask
    reading_since: float | None = None
    writing_since: float | None = None

    def received(self, data: bytes) -> Any:
        """Called with each piece of data."""
        handled = super().received(data)
        self.reading_since = (
            (self.reading_since or time.time()) if self.request else None
        )
        return handled

    def writable(self) -> bool:
        """Whether there is something for the loop to send.

        Not if a thread is sending it just now: the loop would spin until that is done,
        and keep the thread from the interpreter.
        """
        if not super().writable():
            return False
        is_short = self.total_outbufs_len <= self.adj.outbuf_high_watermark
        return not (self.requests and is_short and self._is_being_sent())

    def _is_being_sent(self) -> bool:
        if self.outbuf_lock.acquire(blocking=False):
            self.outbuf_lock.release()
            return False
        return True

    def handle_close(self) -> None:
        """Also closes the file of a partial body."""
        super().handle_close()
        if self.request:
            self.request.close()

    @property
    def is_waiting(self) -> bool:
        """Whether it is the client's turn: nothing is being processed or sent."""
        return not self.requests and not self.total_outbufs_len

    @property
    def buffered(self) -> int:
        """The size of a partial body."""
        return self.request.body_bytes_received if self.request else 0

    def is_overdue(self, now: float) -> bool:
        """Whether the client's time is up."""
        if self.total_outbufs_len:
            self.writing_since = self.writing_since or now
            is_stuck = now - self.last_activity > WRITE_SECONDS
            return is_stuck or now - self.writing_since > WRITE_SECONDS_AT_MOST
        self.writing_since = None
        if self.reading_since is not None and not self.requests:
            allowed = READ_SECONDS + self.buffered / SLOWEST
            return now - self.reading_since > allowed
        return self.is_waiting and now - self.last_activity > IDLE_SECONDS


class _Patience:
    """Disconnects clients whose time is up, or whose place is needed."""

    channel_class = PatientChannel
    active_channels: dict[int, PatientChannel]
    adj: Adjustments
    _map: dict[int, Any]

    def handle_accept(self) -> None:
        """Called when a client connects."""
        if len(self._map) >= self.adj.connection_limit - 1:
            self._make_room()
        super().handle_accept()  # type: ignore[misc]

    def maintenance(self, now: float) -> None:
        """Called once a second."""
        channels = list(self.active_channels.values())
        for channel in channels:
            if channel.is_overdue(now):
                channel.handle_close()
        buffered = sum(channel.buffered for channel in channels)
        for channel in sorted(channels, key=lambda each: each.buffered, reverse=True):
            if buffered <= BUFFER_LIMIT:
                break
            buffered -= channel.buffered
            channel.handle_close()

    def _make_room(self) -> None:
        """Disconnect the oldest first."""
        for channel in self.active_channels.values():
            if channel.is_waiting:
                channel.handle_close()
                return


class TcpServer(_Patience, TcpWSGIServer):  # type: ignore[misc]
    """Listens at an address and port."""


class UnixServer(_Patience, UnixWSGIServer):  # type: ignore[misc]
    """Listens at a path."""


class BufferingWorker(Worker):  # type: ignore[misc]
    """gunicorn's processes with waitress's loop."""

    def init_process(self) -> None:
        """Called in the new process."""
        allow_files(self.cfg.worker_connections * FILES_PER_CONNECTION)
        super().init_process()

    def run(self) -> None:
        """Serve until gunicorn ends it; then finish running requests."""
        # It warns for each request that waits for a thread.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._map: dict[int, Any] = {}
        self._threads = ThreadedTaskDispatcher()
        self._threads.set_thread_count(self.cfg.threads)
        self._servers = [self._server(listener.sock) for listener in self.sockets]
        while self.alive and self.ppid == os.getppid():
            self._turn()
        self._finish()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: exit, at once if no request is running."""
        super().handle_exit(sig, frame)
        for server in getattr(self, "_servers", []):
            server.pull_trigger()

    def _turn(self) -> None:
        self.notify()
        wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)

    def _finish(self) -> None:
        """Accept no more connections, and finish the requests that are running."""
        deadline = time.monotonic() + self.cfg.graceful_timeout
        for server in self._servers:
            server.accepting = False
            server.del_channel(self._map)
            server.socket.close()
        while time.monotonic() < deadline and any(self._at_work()):
            self._turn()
        self._threads.shutdown(timeout=1)

    def _at_work(self) -> Iterator[PatientChannel]:
        for server in self._servers:
            for channel in server.active_channels.values():
                if not channel.is_waiting:
                    yield channel

    def _server(self, listener: socket.socket) -> Any:
        kind = UnixServer if listener.family == socket.AF_UNIX else TcpServer
        return kind(
            self._counted,
            map=self._map,
            _sock=listener,
            dispatcher=self._threads,
            adj=self._adjustments(),
            sockinfo=(listener.family, listener.type, listener.proto, None),
            bind_socket=False,
        )

    def _adjustments(self) -> Adjustments:
        return Adjustments(
            threads=self.cfg.threads,
            connection_limit=self.cfg.worker_connections,
            backlog=self.cfg.backlog,
            cleanup_interval=1,
            max_request_header_size=HEADER_LIMIT,
            max_request_body_size=BODY_LIMIT,
            # Django reads X-Forwarded-Proto; the proxy in front sets it.
            clear_untrusted_proxy_headers=False,
            log_socket_errors=False,
            ident=None,
        )

    def _counted(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        """The application; after `max_requests` a new process takes over."""
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        return self.wsgi(environ, start)


def allow_files(count: int) -> None:
    """Let this process open this many files, as far as the host allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
