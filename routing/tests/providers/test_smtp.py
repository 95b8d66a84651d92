"""SMTP replies, sessions and TLS, against the simulator and against aiosmtpd."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from routing.providers import smtp
from routing.providers.base import (
    AccountError,
    MessageError,
    NotNow,
    ProviderError,
    RecipientError,
    Throttled,
    UnmappedError,
)
from routing.providers.smtp import CODES, SMTPEmail
from routing.tests.providers.samples import build, message_for


class Mailbox:
    """Keeps a server's mails, and counts its connections."""

    def __init__(self) -> None:
        self.mails: list = []
        self.peers: set = set()
        self.noops = 0

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.peers.add(session.peer)
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    async def handle_NOOP(self, server, session, envelope, _):  # noqa: N802
        self.noops += 1
        return "250 OK"


class OutOfSpace(SMTP):
    """Asks for no body of mail to first@, after reading everything before it."""

    async def smtp_DATA(self, arg):  # noqa: N802
        if self.envelope.rcpt_tos == ["first@example.com"]:
            await self.push("452 4.3.1 Insufficient system storage")
        else:
            await super().smtp_DATA(arg)


class OutOfSpaceController(Controller):
    def factory(self):
        return OutOfSpace(self.handler, **self.SMTP_kwargs)


@contextmanager
def mail_server(controller_class=Controller, **options):
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = controller_class(mailbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield mailbox, port
    finally:
        controller.stop()


@contextmanager
def greeted_by(greeting: str):
    """The port of a server that sends this to every client, and disconnects."""
    with socket.create_server(("127.0.0.1", 0)) as door, ThreadPoolExecutor(1) as host:

        def greet():
            visitor, _ = door.accept()
            visitor.sendall(f"{greeting}\r\n".encode())
            visitor.close()

        host.submit(greet)
        yield door.getsockname()[1]


def sender_to(port: int, **options) -> SMTPEmail:
    return SMTPEmail(
        "SMTPEmail",
        {
            "HOST": "127.0.0.1",
            "PORT": port,
            "FROM": "Campaigns <campaigns@example.com>",
            "TIMEOUT": 5,
            "USE_TLS": False,
            **options,
        },
    )


def send(sender: SMTPEmail, **fields):
    return sender.send(message_for(sender, **fields))


@pytest.mark.parametrize(
    "row", [row for row in CODES if row[:4] in {"MAIL", "RCPT", "DATA"}]
)
def test_a_reply_is_what_the_table_says(simulator, row):
    stage, _, code = row.partition(" ")
    simulator.set_fault("SMTPEmail", "error", stage=stage, code=code, message="Because")
    sender = build("SMTPEmail")
    kind = type(CODES[row](""))

    with pytest.raises(kind, match="Because") as caught:
        send(sender)

    sender.close()
    assert (type(caught.value), caught.value.code) == (kind, row)


@pytest.mark.parametrize("code", ["530", "534", "535", "538", "550", "599"])
def test_a_refused_login_is_our_account(simulator, code):
    simulator.set_fault("SMTPEmail", "error", stage="AUTH", code=code, message="No")
    sender = build("SMTPEmail", USERNAME="user", PASSWORD="secret")

    with pytest.raises(AccountError) as caught:
        send(sender)

    assert caught.value.code == f"AUTH {code}"


@pytest.mark.parametrize(
    ("stage", "reply", "kind"),
    [
        ("MAIL", "421 4.7.0 Too many connections", Throttled),
        ("MAIL", "421 4.3.2 Shutting down", ProviderError),
        ("MAIL", "454 Throttling failure: Maximum sending rate exceeded", Throttled),
        ("MAIL", "550 5.7.26 Unauthenticated mail from example.com", AccountError),
        ("RCPT", "450 4.1.2 Domain not found", NotNow),
        ("RCPT", "550 5.7.1 Blocked using zen.spamhaus.org", ProviderError),
        ("RCPT", "550 5.1.1 User unknown", RecipientError),
        ("RCPT", "599 What", UnmappedError),
        ("DATA", "550 5.1.1 User unknown", RecipientError),
        ("DATA", "550 5.7.1 [192.0.2.1] Likely unsolicited mail", ProviderError),
        ("DATA", "571 Never", UnmappedError),
    ],
)
def test_a_reply_is_understood_with_its_enhanced_code(simulator, stage, reply, kind):
    code, _, text = reply.partition(" ")
    simulator.set_fault("SMTPEmail", "error", stage=stage, code=code, message=text)
    sender = build("SMTPEmail")

    with pytest.raises(kind) as caught:
        send(sender)

    sender.close()
    assert type(caught.value) is kind
    assert getattr(caught.value, "unavailable", False) == ("Shutting down" in reply)
    assert getattr(caught.value, "is_gone", False) == ("User unknown" in reply)


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        ("554 5.7.1 Client host [192.0.2.1] blocked using a list", AccountError),
        ("554 No SMTP service here", ProviderError),
        ("521 We take no mail", ProviderError),
        ("421 4.7.0 Too many connections from your host", Throttled),
        ("421 4.3.2 Busy", ProviderError),
        ("450 4.7.1 Go away", Throttled),
        ("599 What", ProviderError),
    ],
)
def test_a_server_that_turns_us_away_at_the_door_is_no_recipients_fault(greeting, kind):
    with greeted_by(greeting) as port, pytest.raises(kind) as caught:
        send(sender_to(port))

    assert type(caught.value) is kind
    assert caught.value.code == f"CONNECT {greeting[:3]}"


def test_a_temporary_failure_of_the_login_is_the_servers(simulator):
    simulator.set_fault(
        "SMTPEmail", "error", stage="AUTH", code="454", message="4.7.0 x"
    )

    with pytest.raises(ProviderError) as caught:
        send(build("SMTPEmail", USERNAME="user", PASSWORD="secret"))

    assert type(caught.value) is ProviderError


@pytest.mark.parametrize("stage", ["MAIL", "RCPT"])
@pytest.mark.parametrize("kind", ["hang", "drop", "garbage", "huge"])
def test_what_goes_wrong_before_the_body_is_certain(simulator, stage, kind):
    simulator.set_fault("SMTPEmail", kind, stage=stage, megabytes=8)
    sender = build("SMTPEmail", TIMEOUT=0.4)

    with pytest.raises(ProviderError) as caught:
        send(sender)

    assert caught.value.unavailable


def test_an_unknown_mailbox_spoils_neither_the_session_nor_the_next_mail(simulator):
    sender = build("SMTPEmail")
    with pytest.raises(RecipientError):
        send(sender, recipient="unknown@example.com")
    session = sender._idle[0]

    assert send(sender)

    assert sender._idle[0] is session
    sender.close()


def test_a_mail_refused_before_its_body_does_not_spoil_the_next_one():
    """smtplib leaves such a mail open, and the next MAIL would get a 503."""
    with mail_server(OutOfSpaceController) as (mailbox, port):
        sender = sender_to(port)
        with pytest.raises(ProviderError):
            send(sender, recipient="first@example.com")
        send(sender, recipient="second@example.com")
        sender.close()

    assert [mail["To"] for mail in mailbox.mails] == ["second@example.com"]


def test_the_mail_is_what_was_asked_for():
    with mail_server() as (mailbox, port):
        sender = sender_to(port)
        acceptance = send(sender, subject="Grüße", body="First\n.\nLast ü")
        sender.close()

    [mail] = mailbox.mails
    assert mail["From"] == "Campaigns <campaigns@example.com>"
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Grüße")
    assert mail["Message-ID"] == acceptance.external_message_id == "<m12a3@example.com>"
    assert mail["X-Message-Reference"] == "m12a3"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == ["First", ".", "Last ü"]


def test_a_connection_is_kept_for_the_next_mail():
    with mail_server() as (mailbox, port):
        sender = sender_to(port)
        for _ in range(3):
            send(sender)
        sender.close()

    assert (len(mailbox.mails), len(mailbox.peers), mailbox.noops) == (3, 1, 0)


def test_there_are_never_more_connections_than_the_server_takes():
    with mail_server() as (mailbox, port), ThreadPoolExecutor(5) as at_once:
        sender = sender_to(port, MAX_CONNECTIONS=2)
        list(at_once.map(lambda _: send(sender), range(20)))
        sender.close()

    assert len(mailbox.mails) == 20
    assert len(mailbox.peers) <= 2


def test_a_mail_that_finds_no_connection_free_was_not_sent():
    with mail_server() as (mailbox, port):
        sender = sender_to(port, MAX_CONNECTIONS=1, TIMEOUT=0.2)
        sender._slots.acquire()

        with pytest.raises(ProviderError):
            send(sender)

    assert mailbox.mails == []


def test_an_idle_connection_is_asked_before_it_is_used(monkeypatch):
    monkeypatch.setattr(smtp, "TRUST_SECONDS", 0.0)
    with mail_server() as (mailbox, port):
        sender = sender_to(port)
        send(sender)
        send(sender)
        sender.close()

    assert (len(mailbox.peers), mailbox.noops) == (1, 1)


@pytest.mark.parametrize("limit", ["KEEP_SECONDS", "MESSAGES_PER_CONNECTION"])
def test_a_worn_connection_is_replaced(monkeypatch, limit):
    monkeypatch.setattr(smtp, limit, 0)
    with mail_server() as (mailbox, port):
        sender = sender_to(port)
        send(sender)
        send(sender)
        sender.close()

    assert (len(mailbox.mails), len(mailbox.peers)) == (2, 2)


def test_a_server_that_restarted_is_connected_to_again(simulator):
    sender = build("SMTPEmail")
    send(sender)
    simulator.set_fault("SMTPEmail", "refuse")
    simulator.clear_faults()
    time.sleep(0.1)

    assert send(sender)
    sender.close()


def test_a_child_process_does_not_speak_on_its_parents_connections(monkeypatch):
    with mail_server() as (mailbox, port):
        sender = sender_to(port)
        send(sender)
        parents = list(sender._idle)
        monkeypatch.setattr(smtp.os, "getpid", lambda: -1)
        send(sender)
        sender.close()
        parents[0].quit()

    assert len(mailbox.peers) == 2


def test_starttls_and_a_login_come_before_the_mail(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    logins = []

    def authenticate(server, session, envelope, mechanism, data):
        logins.append((data.login, data.password))
        return AuthResult(success=True)

    with mail_server(
        tls_context=certificate.server_side(),
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    ) as (mailbox, port):
        sender = sender_to(port, USE_TLS=True, USERNAME="user", PASSWORD="secret")
        send(sender)
        send(sender)
        sender.close()

    assert (len(mailbox.mails), logins) == (2, [(b"user", b"secret")])


def test_tls_may_come_first_of_all(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    with mail_server(ssl_context=certificate.server_side()) as (mailbox, port):
        sender = sender_to(port, USE_SSL=True)
        send(sender)
        sender.close()

    assert len(mailbox.mails) == 1


def test_a_definition_that_says_nothing_of_tls_wants_it():
    """MESSAGE_PROVIDERS may be written by hand, with fewer options than we read."""
    options = {"HOST": "127.0.0.1", "FROM": "a@example.com"}

    with mail_server() as (mailbox, port), pytest.raises(AccountError, match="START"):
        send(SMTPEmail("Ours", {**options, "PORT": port}))

    assert mailbox.mails == []


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(certificate):
    with (
        mail_server(tls_context=certificate.server_side()) as (mailbox, port),
        pytest.raises(ProviderError, match="SSLCertVerificationError") as caught,
    ):
        send(sender_to(port, USE_TLS=True))

    assert caught.value.unavailable
    assert mailbox.mails == []


def test_a_server_without_the_tls_that_we_want_is_an_account_error():
    with (
        mail_server() as (mailbox, port),
        pytest.raises(AccountError, match="STARTTLS"),
    ):
        send(sender_to(port, USE_TLS=True))

    assert mailbox.mails == []


@pytest.mark.parametrize(
    "subject", ["a\nBcc: x@example.com", "a\r\n", "\n", "a\rb", "a\u2028b", "a\x0bb"]
)
def test_a_subject_cannot_smuggle_a_header_in(subject):
    with pytest.raises(MessageError):
        send(sender_to(1), subject=subject)


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "ada",
        "ada@example.com\nBcc: x@example.com",
        "ada@example.com\r\nx",
        "ada@example.com, eve@example.com",
        "Ada <ada@example.com>",
        '"a\r\nb"@example.com',
    ],
)
def test_a_recipient_is_one_address_and_nothing_else(recipient):
    with pytest.raises(RecipientError):
        send(sender_to(1), recipient=recipient)


@pytest.mark.parametrize("sender", ["campaigns", "Campaigns <campaigns@>"])
def test_a_sender_that_is_no_address_is_an_account_error(sender):
    with pytest.raises(AccountError, match="FROM"):
        send(sender_to(1, FROM=sender))


def test_a_body_that_is_no_text_is_refused():
    with mail_server() as (mailbox, port), pytest.raises(MessageError):
        send(sender_to(port), body="\ud800")

    assert mailbox.mails == []
