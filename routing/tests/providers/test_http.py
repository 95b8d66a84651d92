"""Our HTTP client against a server that sends exactly what each test scripts."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from routing.providers.base import OutcomeUnknown, ProviderError
from routing.providers.transport import http
from routing.providers.transport.http import HttpClient, read_retry_after
from routing.tests.providers.scripted_server import ScriptedServer, answer, say

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def post(
    server: ScriptedServer, *, timeout: float = 5.0, client: HttpClient | None = None
):
    client = client or HttpClient(timeout=timeout)
    return client.post(server.url + "/send", body=b"a=1", headers={"X-Ours": "yes"})


def test_an_answer_comes_back_whole():
    with ScriptedServer(say(answer("202 Accepted", b"{}", "X-Id: 7"))) as server:
        result = post(server)

    assert (result.status, result.headers["x-id"], result.body) == (202, "7", b"{}")


def test_the_request_goes_out_once_and_asks_for_no_compression():
    with ScriptedServer(say(answer("200 OK"))) as server:
        post(server)

    [request] = server.requests
    assert request.startswith(b"POST /send HTTP/1.1\r\n")
    assert b"\r\nAccept-Encoding: identity\r\n" in request
    assert b"\r\nX-Ours: yes\r\n" in request
    assert request.endswith(b"\r\n\r\na=1")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect"])
def test_a_redirect_is_an_answer_and_is_not_followed(status):
    with ScriptedServer(say(answer(status, b"", "Location: /elsewhere"))) as server:
        result = post(server)

    assert result.status == int(status[:3])
    assert len(server.requests) == 1


def test_a_connection_is_used_again():
    client = HttpClient(timeout=5)
    with ScriptedServer(*[say(answer("200 OK", b"x"))] * 3) as server:
        for _ in range(3):
            post(server, client=client)

        assert (len(server.requests), server.connections) == (3, 1)
        client.close()


@pytest.mark.parametrize(
    "interim", ["100 Continue", "102 Processing", "103 Early Hints"]
)
def test_an_interim_answer_is_never_taken_for_the_one_to_this_call_or_the_next(interim):
    client = HttpClient(timeout=5)
    early = f"HTTP/1.1 {interim}\r\nLink: </a>\r\n\r\n".encode()
    first = say(early, answer("503 Busy", b"refused"), pause=0.05)
    with ScriptedServer(first, say(answer("202 Accepted", b"taken"))) as server:
        answers = [post(server, client=client) for _ in range(2)]

        assert [(each.status, each.body) for each in answers] == [
            (503, b"refused"),
            (202, b"taken"),
        ]
        client.close()


def test_there_are_never_more_connections_than_calls_at_once():
    client = HttpClient(timeout=5)
    slow = say(answer("200 OK", b"x"), pause=0.05)
    with (
        ScriptedServer(*[slow] * 20) as server,
        ThreadPoolExecutor(10) as at_once,
    ):
        for _ in range(2):
            list(at_once.map(lambda _: post(server, client=client), range(10)))

        assert len(server.requests) == 20
        assert server.connections <= 10
        client.close()


def test_a_connection_that_the_server_closed_is_replaced_before_anything_is_written():
    client = HttpClient(timeout=5)
    good = say(answer("200 OK", b"x"), close=True)
    with ScriptedServer(good, good) as server:
        post(server, client=client)
        time.sleep(0.05)
        post(server, client=client)

        assert server.connections == 2


def test_a_connection_that_was_idle_for_long_is_replaced(monkeypatch):
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.0)
    client = HttpClient(timeout=5)
    with ScriptedServer(*[say(answer("200 OK", b"x"))] * 2) as server:
        post(server, client=client)
        time.sleep(0.01)
        post(server, client=client)

        assert server.connections == 2
        client.close()


def test_a_connection_is_let_go_of_before_its_old_deadline():
    client = HttpClient(timeout=0.3)
    slow = say(answer("200 OK", b"x"), pause=0.2)
    with ScriptedServer(slow, slow) as server:
        post(server, client=client)  # its deadline is during the second call
        post(server, client=client)

        assert server.connections == 1
        client.close()


def test_a_child_process_does_not_speak_on_its_parents_connections(monkeypatch):
    client = HttpClient(timeout=5)
    with ScriptedServer(*[say(answer("200 OK", b"x"))] * 2) as server:
        post(server, client=client)
        parents = client._connections
        monkeypatch.setattr(os, "getpid", lambda: -1)
        post(server, client=client)

        assert server.connections == 2
        parents.close()
        client.close()


@pytest.mark.parametrize(
    "script",
    [
        say(),
        say(*[bytes([byte]) for byte in answer("200 OK", b"x" * 100)], pause=0.02),
        say(answer("200 OK", b"x" * 100)[:-100], *[b"x"] * 100, pause=0.05),
        say(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 100, pause=0.05),
        say(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 100, pause=0.05),
    ],
    ids=["silence", "headers drip", "body drips", "body without length", "continues"],
)
def test_the_deadline_is_of_the_whole_call(script):
    started = time.monotonic()

    with ScriptedServer(script) as server, pytest.raises(OutcomeUnknown):
        post(server, timeout=0.4)

    assert time.monotonic() - started < 5.5  # including the end of the script


def test_a_call_ends_at_its_deadline():
    with ScriptedServer(say()) as server:
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            post(server, timeout=0.4)
        assert 0.35 < time.monotonic() - started < 0.8


@pytest.mark.parametrize(
    "script",
    [
        say(close=True),
        say(b"HTTP/1.1 20", close=True),
        say(b"SSH-2.0-OpenSSH_9.2\r\n", close=True),
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", close=True),
        say(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", close=True
        ),
        say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"),
        say(answer("200 OK", b"x" * (http.ANSWER_LIMIT + 1))),
        say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200),
    ],
    ids=[
        "closed",
        "status line cut",
        "not HTTP",
        "body cut",
        "chunk cut",
        "no chunk",
        "oversize",
        "too many headers",
    ],
)
def test_an_answer_that_breaks_leaves_the_outcome_unknown(script):
    with ScriptedServer(script) as server, pytest.raises(OutcomeUnknown):
        post(server, timeout=2)

    assert len(server.requests) == 1


def test_an_answer_of_just_the_limit_is_read():
    with ScriptedServer(say(answer("200 OK", b"x" * http.ANSWER_LIMIT))) as server:
        assert len(post(server).body) == http.ANSWER_LIMIT


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no.such.host.invalid"])
def test_a_server_that_cannot_be_reached_was_sent_nothing(url):
    with pytest.raises(ProviderError, match="could not be reached") as caught:
        HttpClient(timeout=5).post(url, body=b"", headers={})

    assert caught.value.unavailable


def test_a_connection_that_never_stands_was_sent_nothing():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        # The kernel's queue is full after these, so the next one waits.
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        with pytest.raises(ProviderError) as caught:
            HttpClient(timeout=0.3).post(
                f"http://127.0.0.1:{port}", body=b"", headers={}
            )
        for sock in waiting:
            sock.close()

    assert caught.value.unavailable


def test_a_tls_handshake_that_hangs_was_sent_nothing():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ProviderError) as caught:
            HttpClient(timeout=0.3).post(url, body=b"", headers={})

    assert caught.value.unavailable
    assert time.monotonic() - started < 1


def test_a_certificate_that_nobody_vouches_for_was_sent_nothing(certificate):
    with (
        ScriptedServer(tls=certificate.server_side()) as server,
        pytest.raises(ProviderError, match="CERTIFICATE_VERIFY_FAILED") as caught,
    ):
        post(server)

    assert caught.value.unavailable
    assert server.requests == []


def test_tls_connections_are_kept_and_have_deadlines_too(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    client = HttpClient(timeout=0.5)
    scripts = [
        say(answer("200 OK", b"x")),
        say(b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=0.4),
    ]
    with ScriptedServer(*scripts, tls=certificate.server_side()) as server:
        post(server, client=client)
        with pytest.raises(OutcomeUnknown, match=r"deadline|in time"):
            post(server, client=client)

        assert (len(server.requests), server.connections) == (2, 1)


def test_a_header_that_cannot_be_sent_is_not_quoted():
    with ScriptedServer() as server, pytest.raises(ProviderError) as caught:
        HttpClient(timeout=5).post(
            server.url, body=b"", headers={"Authorization": "Bearer canary\nx"}
        )

    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert server.requests == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30),
        ("Tue, 24 Nov 2026 12:00:30 -0000", 30),
        ("999999999", 86400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400),
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date_and_capped(value, seconds):
    assert read_retry_after(value, now=NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "0",
        "-5",
        "soon",
        "1.5",
        "\u0663",
        "Tue, 24 Nov 2026 11:59:00 GMT",
        "Tue, 99 Nov 2026 11:59:00 GMT",
        "9" * 5000,
    ],
)
def test_a_retry_after_of_no_wait_or_no_sense_is_none(value):
    assert read_retry_after(value, now=NOW) is None
