"""A receiver of receipts, and a raw HTTP client for the simulators."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from routing.simulators.client import SimulatorClient
from routing.simulators.process import SimulatorProcess, read_handset_log
from routing.tests.simulators.wires import Received, Receiver, Wires


@pytest.fixture(scope="session")
def http() -> Iterator[urllib3.PoolManager]:
    """Sends once and follows no redirects."""
    pool = urllib3.PoolManager(retries=False, timeout=5)
    yield pool
    pool.clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes webhook calls and keeps them in order of arrival."""
    calls: queue.Queue[Received] = queue.Queue()
    answers: queue.Queue[int] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.put(Received(self.path, dict(self.headers.items()), body))
            self.send_response(200 if answers.empty() else answers.get())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Receiver(f"http://127.0.0.1:{server.server_port}", calls, answers)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def wires(simulator: SimulatorClient, http: urllib3.PoolManager) -> Wires:
    """Sends to every simulator."""
    return Wires(simulator, http)


@pytest.fixture
def handset_log(simulator_process: SimulatorProcess) -> Callable[[], list[str]]:
    """The events in the handset log so far, each with its recipient."""

    def read() -> list[str]:
        entries = read_handset_log(simulator_process.handset_log)
        return [f"{entry.event} {entry.message.recipient}" for entry in entries]

    return read
