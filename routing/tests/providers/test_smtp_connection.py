"""An SMTP connection, against servers that send exactly what a test scripts."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest

from routing.providers.base import OutcomeUnknown, ProviderError, RecipientError
from routing.tests.providers.samples import build, message_for


def sender_to(port: int):
    options = {"HOST": "127.0.0.1", "PORT": port, "FROM": "campaigns@example.com"}
    return build("SMTPEmail", **options, USE_TLS=False, TIMEOUT=5)


def send(sender):
    return sender.send(message_for(sender))


@contextmanager
def greeter(*replies: bytes, hangs_up: bool = False):
    """A server that sends its lines one by one; its port, and what it received.

    At the end it reads once more, or disconnects at once.
    """
    heard: list[bytes] = []

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            for position, reply in enumerate(replies, start=1):
                sock.sendall(reply)
                if position < len(replies) or not hangs_up:
                    heard.append(sock.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join()


PIPELINING = [b"220 hi\r\n", b"250-hi\r\n250 PIPELINING\r\n"]


def test_a_server_that_lets_us_hears_all_commands_at_once():
    answers = b"250 ok\r\n250 ok\r\n354 go\r\n"
    with greeter(*PIPELINING, answers, b"250 ok\r\n") as (port, heard):
        sender = sender_to(port)
        send(sender)
        sender.close()

    assert heard[1].decode().splitlines() == [
        "MAIL FROM:<campaigns@example.com>",
        "RCPT TO:<ada@example.com>",
        "DATA",
    ]
    assert heard[2].endswith(b"\r\n.\r\n")


def test_a_body_is_not_sent_to_a_server_that_refused_the_recipient():
    """If asked for one all the same, we send an empty one (RFC 2920, section 3.1)."""
    answers = b"250 ok\r\n550 5.1.1 no such user\r\n354 go\r\n"
    script = [*PIPELINING, answers, b"554 no recipients\r\n", b"250 reset\r\n"]
    with greeter(*script) as (port, heard):
        sender = sender_to(port)
        with pytest.raises(RecipientError) as caught:
            send(sender)
        sender.close()

    assert caught.value.code == "RCPT 550"
    assert heard[2:] == [b".\r\n", b"rset\r\n", b"QUIT\r\n"]


@pytest.mark.parametrize("rest", [b"", b"35", b"?\r\n", b"421 bye\r\n"])
def test_a_refusal_stands_whatever_comes_after_it(rest):
    answers = b"250 ok\r\n550 5.1.1 no such user\r\n" + rest
    with greeter(*PIPELINING, answers, hangs_up=True) as (port, _):
        sender = sender_to(port)
        with pytest.raises(RecipientError):
            send(sender)

    assert not sender._idle


@pytest.mark.parametrize("answers", [b"", b"250 ok\r\n", b"250 ok\r\n250 ok\r\n"])
def test_a_mail_whose_commands_were_not_all_answered_was_not_sent(answers):
    with (
        greeter(*PIPELINING, answers, hangs_up=True) as (port, heard),
        pytest.raises(ProviderError) as caught,
    ):
        send(sender_to(port))

    assert caught.value.unavailable
    assert len(heard) == 2


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [(b"554 No service for you\r\n", ProviderError), (b"421 Later\r\n", ProviderError)],
)
def test_a_greeting_is_read(greeting, kind):
    with greeter(greeting) as (port, _), pytest.raises(kind) as caught:
        send(sender_to(port))

    assert caught.value.unavailable


def test_half_a_reply_is_none():
    """smtplib alone would read "250" without its line end as an acceptance."""
    script = [b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]

    with (
        greeter(*script, b"250", hangs_up=True) as (port, _),
        pytest.raises(OutcomeUnknown),
    ):
        send(sender_to(port))
