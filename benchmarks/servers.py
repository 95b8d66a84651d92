"""A fast HTTP server and an SMTP sink that answer after a given time.

Cheap enough to be faster than what is measured: raw asyncio with hardly any parsing.
Each runs in its own process: `python -m benchmarks.servers PROTOCOL LATENCY [FILE]`
prints its port. Each arrival at `http` adds a line to FILE: the time and the
recipient. `breaking` fails while FILE exists.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TO = re.compile(rb"To=%2B(\d+)")
_numbers = itertools.count(1)


class HttpProvider(asyncio.Protocol):
    """Answers every POST as Twilio does, whatever its contents."""

    def __init__(self, latency: float, log: Path | None = None) -> None:
        self._latency = latency
        self._log = log and log.open("a", buffering=1)
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            match = _LENGTH.search(self._buffer, 0, head)
            end = head + 4 + (int(match[1]) if match else 0)
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            if not self.arrived(request):
                continue
            if self._latency:
                loop = asyncio.get_running_loop()
                loop.call_later(self._latency, self.answer, request)
            else:
                self.answer(request)

    def arrived(self, request: bytes) -> bool:
        """Note a request; whether it gets its answer when the latency is over."""
        if self._log and (match := _TO.search(request)):
            self._log.write(f"{time.time()} {match[1].decode()}\n")
        return True

    def answer(self, request: bytes) -> None:
        """Called when the latency is over; overridden to answer as others do."""
        self.write(twilio_message(f"SM{next(_numbers):032x}"))

    def write(self, body: bytes, *headers: bytes) -> None:
        """Answer with a JSON document."""
        self.transport.write(
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n%s"
            b"Content-Length: %d\r\n\r\n%s" % (b"".join(headers), len(body), body)
        )


class Breaking(HttpProvider):
    """The same, except that it answers 503 at once while a file exists."""

    def __init__(self, latency: float, file: Path | None = None) -> None:
        super().__init__(latency)
        self._file = file

    def arrived(self, request: bytes) -> bool:
        """Whether an answer is due later."""
        if self._file is None or not self._file.exists():
            return True
        self.transport.write(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")
        return False


def twilio_message(sid: str) -> bytes:
    """A message that Twilio has taken."""
    return (
        b'{"sid": "%s", "status": "queued", "num_segments": "1", '
        b'"error_code": null, "price": null, "price_unit": "USD"}'
    ) % sid.encode()


class _Sink(asyncio.Protocol):
    """Accepts every message, after a delay at its end."""

    def __init__(self, latency: float, log: Path | None) -> None:
        self._latency = latency
        self._buffer = b""
        self._is_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = b"\r\n.\r\n" if self._is_body else b"\r\n"
        while (position := self._buffer.find(end)) >= 0:
            line = self._buffer[:position]
            self._buffer = self._buffer[position + len(end) :]
            if self._is_body:
                self._is_body = False
                loop = asyncio.get_running_loop()
                loop.call_later(self._latency, self._say, b"250 2.0.0 taken\r\n")
            else:
                self._command(line[:4].upper())
            end = b"\r\n.\r\n" if self._is_body else b"\r\n"

    def _command(self, verb: bytes) -> None:
        if verb == b"EHLO":
            self._say(b"250-sink\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n")
        elif verb == b"DATA":
            self._is_body = True
            self._say(b"354 go on\r\n")
        elif verb == b"QUIT":
            self._say(b"221 bye\r\n")
            self._transport.close()
        else:
            self._say(b"250 2.0.0 ok\r\n")

    def _say(self, reply: bytes) -> None:
        self._transport.write(reply)


PROTOCOLS = {"http": HttpProvider, "breaking": Breaking, "smtp": _Sink}


@contextmanager
def server(protocol: str, *, latency: float, file: Path | None = None) -> Iterator[int]:
    """Run a server during the block; yields its port."""
    command = [sys.executable, "-m", "benchmarks.servers", protocol, str(latency)]
    command += [str(file)] if file else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def _serve(protocol: str, latency: float, file: Path | None) -> None:
    listener = await asyncio.get_running_loop().create_server(
        lambda: PROTOCOLS[protocol](latency, file), "127.0.0.1", 0, backlog=2000
    )
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        _serve(
            sys.argv[1],
            float(sys.argv[2]),
            Path(sys.argv[3]) if len(sys.argv) > 3 else None,
        )
    )
