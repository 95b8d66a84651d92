"""The total deadline of one call, and how far the call got before it.

A socket's own timeout restarts with every byte, so a provider that drips its answer
could hold a thread for ever. One watchdog thread therefore shuts down the socket of a
call when its time is up, whatever the call is waiting for. Only the resolution of a
host name cannot be cut short; resolv.conf limits it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from routing.providers.transport.reaching import has_no_way

DEFAULT_SECONDS = 30.0


class Call:
    """One call to a provider: its deadline, its socket, and whether it was written.

    A context manager for the calling thread. The connection classes for HTTP and SMTP
    find it with `current_call` and give it their socket.
    """

    def __init__(self, seconds: float) -> None:
        self.expires_at = time.monotonic() + seconds
        self.is_written = False  # the message may have reached the provider
        self.is_expired = False
        self.is_over = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        _current.call = self
        _watchdog.watch(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        _current.call = None
        self.let_go()
        self.is_over = True

    def remaining(self) -> float:
        """The seconds that are left; TimeoutError if there are none."""
        seconds = self.expires_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        return seconds

    def connect(self, host: str, port: int) -> socket.socket:
        """A socket to the first address of the host that answers in time.

        Raises OSError. socket.create_connection would give each address the whole time.
        """
        failures = [OSError(f"{host} has no address")]
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self.remaining())
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(address)
                self.use(sock)
            except OSError as error:
                sock.close()
                failures.append(error)
            else:
                return sock
        raise _telling_most(failures)

    def use(self, sock: socket.socket) -> None:
        """From now on this is the call's socket; TimeoutError if it came too late."""
        with self._lock:
            if self.is_expired:
                raise TimeoutError("the deadline has passed")
            self._socket = sock

    def let_go(self) -> None:
        """Release the socket; called before it goes back to a pool."""
        with self._lock:
            self._socket = None

    def expire(self) -> None:
        """The time is up; called by the watchdog."""
        with self._lock:
            if self.is_over:
                return
            self.is_expired = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Not the method of SSLSocket, which would drop the TLS state that
                    # another thread is reading with.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _telling_most(failures: Sequence[OSError]) -> OSError:
    """The last one; but this host may have no way to some kinds of addresses."""
    away = [each for each in failures[1:] if not has_no_way(each)]
    return (away or failures)[-1]


class _Current(threading.local):
    call: Call | None = None


class _Watchdog:
    """A thread that sleeps until the next deadline of an unfinished call.

    Finished calls stay on the heap until they reach its top. So a call costs one push
    and no wake-up, and the heap is not much larger than the number of calls in flight.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Start anew; called in the child after a fork, which inherits no threads."""
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, Call]] = []
        self._sequence = itertools.count()
        self._thread: threading.Thread | None = None
        self._wakes_at = math.inf

    def watch(self, call: Call) -> None:
        """Expire the call at its deadline, unless it is over by then."""
        with self._condition:
            self._forget_ended()
            heapq.heappush(self._heap, (call.expires_at, next(self._sequence), call))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="provider-deadlines", daemon=True
                )
                self._thread.start()
            elif call.expires_at < self._wakes_at:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            self._next_due().expire()

    def _next_due(self) -> Call:
        with self._condition:
            while (wait := self._seconds_to_next()) != 0:
                self._wakes_at = math.inf if wait is None else time.monotonic() + wait
                self._condition.wait(wait)
            return heapq.heappop(self._heap)[2]

    def _seconds_to_next(self) -> float | None:
        self._forget_ended()
        if not self._heap:
            return None
        return max(0, self._heap[0][0] - time.monotonic())

    def _forget_ended(self) -> None:
        while self._heap and self._heap[0][2].is_over:
            heapq.heappop(self._heap)


def current_call() -> Call:
    """The call that this thread is in."""
    if _current.call is None:
        raise RuntimeError("A provider's connection is used outside a Call.")
    return _current.call


def is_closing(idle: socket.socket) -> bool:
    """Whether the server has sent something unasked: it is closing the connection."""
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))


_current = _Current()
_watchdog = _Watchdog()
os.register_at_fork(after_in_child=_watchdog.renew)
