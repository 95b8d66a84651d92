"""No client blocks the web server, by half a request or by not reading."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest
import urllib3
from django.conf import settings

from marketing_platform.demo.child_process import Child
from marketing_platform.demo.stage import free_port
from marketing_platform.testing.installation import wait_until
from marketing_platform.web_server import (
    BODY_LIMIT,
    HEADER_LIMIT,
    READ_SECONDS,
    PatientChannel,
)

pytestmark = pytest.mark.long
CLIENTS = 60
SOON = 2.0  # seconds, for a request that waits for no other

HEAD = b"POST /webhooks/TwilioSMS/ HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# What a client sends first, and then again and again.
SLOW = {
    "nothing at all": (b"", b""),
    "half a request line": (b"POST /webh", b""),
    "half a header": (HEAD + b"Content-Le", b""),
    "a header without end": (HEAD, b"X"),
    "headers without end": (HEAD, b"X: y\r\n"),
    "half a body": (HEAD + b"Content-Length: 100\r\n\r\nhalf", b""),
    "a body byte by byte": (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "a body said to be huge": (HEAD + b"Content-Length: 99999999\r\n\r\n", b"x"),
    "chunks without end": (CHUNKED, b"1\r\nx\r\n"),
    "half a chunk": (CHUNKED + b"fffff\r\nhalf", b""),
    "a size of a chunk without end": (CHUNKED, b"1"),
    "empty lines": (b"\r\n", b"\r\n"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Started as README.md says, in one process with two threads."""
    directory = tmp_path_factory.mktemp("web")
    port = free_port()
    child = Child(
        "web",
        [
            *(sys.executable, "-m", "gunicorn", "marketing_platform.wsgi"),
            *(f"--bind=127.0.0.1:{port}", "--workers=1", "--threads=2"),
            "--worker-connections=100",
            *(f"--chdir={settings.BASE_DIR}", "--no-control-socket"),
            f"--config={settings.BASE_DIR / 'gunicorn.conf.py'}",
        ],
        log=directory / "web.log",
        environment={
            **os.environ,
            "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
            "STATE_DIR": str(directory),
            "SECURE_SSL_REDIRECT": "0",
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
        },
    )
    child.start()
    try:
        wait_until(lambda: answers(port))
        yield port
    finally:
        child.stop()


def answers(port):
    with suppress(urllib3.exceptions.HTTPError):
        return healthz(port) == 200
    return False


def healthz(port):
    """The status of a request on a new connection."""
    url = f"http://127.0.0.1:{port}/healthz"
    return urllib3.request("GET", url, retries=False, timeout=10).status


@pytest.fixture
def clients(server):
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", server)))
            for _ in range(CLIENTS)
        ]


def drip(clients, more, stop):
    while not stop.wait(0.2):
        for client in clients:
            with suppress(OSError):
                client.send(more)


@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_hold_nobody_up(server, clients, kind):
    first, more = SLOW[kind]
    for client in clients:
        client.sendall(first)
    stop = threading.Event()
    dripping = threading.Thread(target=drip, args=(clients, more, stop))
    dripping.start()
    try:
        time.sleep(0.5)
        start = time.monotonic()
        assert [healthz(server) for _ in range(5)] == [200] * 5
        assert time.monotonic() - start < SOON
    finally:
        stop.set()
        dripping.join()


def test_clients_that_do_not_read_hold_nobody_up(server, clients):
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.sendall(b"GET /api/schema HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_until(lambda: answers(server))
    start = time.monotonic()

    assert healthz(server) == 200
    assert time.monotonic() - start < SOON


def status(server, request):
    """The status of a request, which may be incomplete."""
    with socket.create_connection(("127.0.0.1", server), timeout=10) as client:
        client.sendall(request)
        return int(client.recv(100).split()[1])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (HEAD + b"X: " + b"y" * HEADER_LIMIT, 431),
        (HEAD + b"X: y\r\n" * HEADER_LIMIT, 431),
        (b"GET /" + b"y" * HEADER_LIMIT, 431),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), 413),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    ],
)
def test_what_is_too_large_or_no_http_is_refused_at_once(server, request_, expected):
    assert status(server, request_) == expected


def test_a_connection_takes_many_requests(server):
    pool = urllib3.HTTPConnectionPool("127.0.0.1", server, maxsize=1)

    assert {pool.request("GET", "/healthz").status for _ in range(50)} == {200}
    assert pool.num_connections == 1


def test_a_new_client_takes_the_place_of_the_slowest(server):
    """With at most 100 connections: see the fixture."""
    with ExitStack() as stack:
        for _ in range(150):
            client = socket.create_connection(("127.0.0.1", server))
            stack.enter_context(client).sendall(HEAD)

        assert healthz(server) == 200


class Adjusted:
    """What a channel needs from its server."""

    outbuf_overflow = inbuf_overflow = 1000
    max_request_header_size = max_request_body_size = 100_000
    url_scheme, url_prefix, channel_request_lookahead = "http", "", 0
    send_bytes, outbuf_high_watermark, ident = 1, 1_000_000, None


class Application:
    """A server with one application, which gives one answer."""

    effective_host, effective_port, server_name = "localhost", 80, "localhost"

    def __init__(self, status, body):
        self.status, self.body = status, body
        self.adj, self.active_channels = Adjusted(), {}

    def application(self, environ, start):
        start(self.status, [])
        return iter(self.body)

    def add_task(self, channel):
        """There are no threads to give it to."""

    def pull_trigger(self):
        """There is no loop to wake."""


@pytest.mark.parametrize(
    ("request_", "status", "body", "is_kept"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", "204 No Content", [], True),
        (b"POST / HTTP/1.1\r\nConnection: close\r\n\r\n", "204 No Content", [], False),
        (b"POST / HTTP/1.0\r\n\r\n", "204 No Content", [], False),
        (b"POST / HTTP/1.1\r\n\r\n", "200 OK", [b"without", b"length"], False),
    ],
)
def test_the_connection_of_an_answer_without_body_is_kept(
    request_, status, body, is_kept
):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = PatientChannel(
            Application(status, body), ours, ("127.0.0.1", 1), Adjusted(), map={}
        )
        channel.received(request_)
        channel.service()

        assert status.encode() in theirs.recv(1000)
        assert channel.close_when_flushed is not is_kept
        channel.handle_close()


def test_the_loop_leaves_an_answer_to_the_thread_that_is_sending_it():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = PatientChannel(
            SimpleNamespace(active_channels={}), ours, "", Adjusted(), map={}
        )
        channel.requests, channel.total_outbufs_len = [object()], 1000
        with ThreadPoolExecutor() as pool:
            with channel.outbuf_lock:
                assert not pool.submit(channel.writable).result()
            assert pool.submit(channel.writable).result()
            with channel.outbuf_lock:
                channel.total_outbufs_len = Adjusted.outbuf_high_watermark + 1
                assert pool.submit(channel.writable).result()
        channel.handle_close()


@pytest.mark.parametrize(
    ("received", "seconds", "is_overdue"),
    [
        (b"", 70, False),
        (b"", 80, True),
        (HEAD, READ_SECONDS - 1, False),
        (HEAD, READ_SECONDS + 1, True),
        (
            HEAD + b"Content-Length: 90000\r\n\r\n" + b"x" * 50_000,
            READ_SECONDS + 4,
            False,
        ),
        (
            HEAD + b"Content-Length: 90000\r\n\r\n" + b"x" * 50_000,
            READ_SECONDS + 6,
            True,
        ),
    ],
)
def test_a_client_has_its_time_and_no_more(received, seconds, is_overdue):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = SimpleNamespace(active_channels={})
        channel = PatientChannel(server, ours, "", Adjusted(), map={})
        if received:
            channel.received(received)

        assert channel.is_overdue(time.time() + seconds) == is_overdue
        channel.handle_close()


def test_an_answer_that_nobody_reads_is_given_up():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = PatientChannel(
            SimpleNamespace(active_channels={}), ours, "", Adjusted(), map={}
        )
        channel.total_outbufs_len = 1000

        assert not channel.is_overdue(time.time() + 29)
        assert channel.is_overdue(time.time() + 31)
        channel.last_activity += 400  # it reads a byte now and then
        assert channel.is_overdue(time.time() + 400)
        channel.handle_close()


@pytest.fixture
def proxy(server, tmp_path):
    """The port of an nginx with the settings in deploy/, without TLS."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    ours = (settings.BASE_DIR / "deploy" / "nginx.conf").read_text()
    ours = re.sub(r" *ssl_certificate.*;\n", "", ours)
    ours = ours.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    ours = ours.replace("server 127.0.0.1:8000;", f"server 127.0.0.1:{server};")
    paths = "".join(
        f"{name}_temp_path {tmp_path};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}{ours} }}"
    )
    child = Child("nginx", [nginx, "-c", str(config), "-e", f"{tmp_path}/error.log"])
    child.start()
    try:
        wait_until(lambda: answers(port))
        yield port
    finally:
        child.stop()


def test_the_proxy_lets_whole_requests_through_and_holds_back_half_ones(proxy):
    with ExitStack() as stack:
        for _ in range(90):
            client = socket.create_connection(("127.0.0.1", proxy))
            stack.enter_context(client).sendall(HEAD + b"Content-Length: 9\r\n\r\nx")
        start = time.monotonic()
        assert healthz(proxy) == 200
        assert time.monotonic() - start < SOON

    url = f"http://127.0.0.1:{proxy}/webhooks/TwilioSMS/"
    too_large = urllib3.request("POST", url, body=b"x" * (BODY_LIMIT + 1))
    assert too_large.status == 413
