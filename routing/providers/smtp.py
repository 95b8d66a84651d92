"""E-mail over SMTP, through Django's backend on kept connections.

RFC 5321, RFC 4954 (AUTH). What a reply means: `smtp_status`.

SMTP has no receipts; a bounce arrives as an e-mail, which we do not read. Until the
first byte of the body it is certain that nothing was sent. A connection that is lost
after that leaves the outcome unknown, unless a reply of 4xx or 5xx came back.
"""

from __future__ import annotations

import contextlib
import os
import smtplib
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

from django.core.mail.backends.smtp import EmailBackend

from routing.providers.base import (
    Acceptance,
    AccountError,
    MessageError,
    OutboundMessage,
    OutcomeUnknown,
    Provider,
    SendFailure,
    UnmappedError,
)
from routing.providers.options import DocsRow, Option
from routing.providers.smtp_status import CODES as CODES
from routing.providers.smtp_status import Reply, kind_of
from routing.providers.transport.deadline import (
    DEFAULT_SECONDS,
    Call,
    current_call,
    is_closing,
)
from routing.providers.transport.mime import WrittenMail, write
from routing.providers.transport.reaching import not_reached
from routing.providers.transport.smtp_connection import (
    CommandRefused,
    WatchedConnection,
    WatchedTLSConnection,
)
from routing.text.untrusted import as_text
from routing.vocabulary import Channel

KEEP_SECONDS = 30.0  # an idle connection, before it is closed
TRUST_SECONDS = 1.0  # an idle connection, before a NOOP checks that it is alive
MESSAGES_PER_CONNECTION = 100  # many servers end a session at about 100
# At once, per process. By default, Postfix accepts 50 from one host, and answers 421 to
# more.
MAX_CONNECTIONS = 50


class SMTPEmail(Provider):
    """E-mail through one SMTP server."""

    channel = Channel.EMAIL
    declared_options = (
        Option("HOST", "SMTP_HOST", is_required=True),
        Option("PORT", "SMTP_PORT", default=587, is_required=True),
        Option("USERNAME", "SMTP_USERNAME"),
        Option("PASSWORD", "SMTP_PASSWORD"),
        Option("USE_TLS", "SMTP_USE_TLS", default=True, help="STARTTLS"),
        Option(
            "USE_SSL",
            "SMTP_USE_SSL",
            default=False,
            help="TLS from the first byte, on port 465, in place of STARTTLS",
        ),
        Option(
            "MAX_CONNECTIONS",
            "SMTP_MAX_CONNECTIONS",
            default=MAX_CONNECTIONS,
            help="at once, per process: no more than the server takes",
        ),
        Option("FROM", "EMAIL_FROM", is_required=True),
    )
    docs = DocsRow(reference="`Message-ID`, `X-Message-Reference`")
    simulator = "smtp"

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        return {
            "HOST": "127.0.0.1",
            "PORT": port,
            "USE_TLS": False,
            "FROM": "Campaigns <campaigns@example.com>",
        }

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self.timeout = float(options.get("TIMEOUT", DEFAULT_SECONDS))
        self._idle: deque[_Session] = deque()
        self._slots = BoundedSemaphore(
            int(self.options["MAX_CONNECTIONS"] or MAX_CONNECTIONS)
        )
        self._pid = os.getpid()

    def send(self, message: OutboundMessage) -> Acceptance:
        """Hand the message to the server.

        1. Encode it; what cannot be encoded is refused here.
        2. Take a session, or open one as soon as MAX_CONNECTIONS allows. Nothing is
           sent before it is ready.
        3. Send. Keep the session unless it broke.
        """
        mail = write(message, sender=self.options["FROM"])
        with Call(self.timeout) as call:
            try:
                self._deliver(call, mail)
            except (smtplib.SMTPException, OSError, ValueError) as error:
                # Without the cause: smtplib quotes what it sent, with addresses.
                raise _failure(call, error) from None
        return Acceptance(external_message_id=mail.message_id)

    def close(self) -> None:
        """Send QUIT on every idle connection."""
        while session := self._pop():
            session.quit()

    def _deliver(self, call: Call, mail: WrittenMail) -> None:
        if not self._slots.acquire(timeout=call.remaining()):
            raise TimeoutError("no connection became free within the deadline")
        try:
            self._send(call, mail)
        finally:
            self._slots.release()

    def _send(self, call: Call, mail: WrittenMail) -> None:
        session = self._take()
        try:
            session.send(mail)
        finally:
            call.let_go()  # before another thread can take the session
            if session.is_open:
                self._idle.append(session)

    def _take(self) -> _Session:
        """The most recently used session that is still alive, else a new one."""
        while session := self._pop():
            if session.is_usable():
                return session
            session.quit()
        return _Session.opened(self.options, self.timeout)

    def _pop(self) -> _Session | None:
        if self._pid != os.getpid():  # after a fork: these belong to the parent
            self._idle, self._pid = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None


@dataclass(slots=True)
class _Session:
    """A connection after EHLO, STARTTLS and AUTH."""

    backend: _Backend
    used_at: float  # time.monotonic()
    messages: int = 0

    @classmethod
    def opened(cls, options: Mapping[str, Any], timeout: float) -> _Session:
        backend = _Backend(
            host=options["HOST"],
            port=int(options["PORT"]),
            # "" and not None, which Django would replace with EMAIL_HOST_USER
            username=options["USERNAME"] or "",
            password=options["PASSWORD"] or "",
            use_tls=bool(options["USE_TLS"]) and not options["USE_SSL"],
            use_ssl=bool(options["USE_SSL"]),
            timeout=timeout,
        )
        try:
            backend.open()
        except BaseException:
            _hang_up(backend.half_open_connection)
            raise
        return cls(backend, time.monotonic())

    @property
    def connection(self) -> Any:
        """The smtplib.SMTP, or None."""
        return self.backend.connection

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as far as we know."""
        return self.connection is not None and self.connection.sock is not None

    def is_usable(self) -> bool:
        """Whether the server still answers; after a pause, a NOOP finds out."""
        idle = time.monotonic() - self.used_at
        is_worn = idle > KEEP_SECONDS or self.messages >= MESSAGES_PER_CONNECTION
        if is_worn or not self.is_open or is_closing(self.connection.sock):
            return False
        call = current_call()
        call.use(self.connection.sock)
        self.connection.sock.settimeout(call.remaining())
        return idle < TRUST_SECONDS or self._answers()

    def send(self, mail: WrittenMail) -> None:
        """Send; after an error, keep the connection only if it is a clean refusal."""
        try:
            self.connection.deliver(mail)
        except BaseException as error:
            reply = _reply(error)
            if reply is None or not reply.is_refusal:
                _hang_up(self.connection)
            raise
        finally:
            self.messages += 1
            self.used_at = time.monotonic()

    def quit(self) -> None:
        """Send QUIT and close, without waiting for the answer."""
        if self.is_open:
            with contextlib.suppress(OSError):
                self.connection.putcmd("QUIT")
        _hang_up(self.connection)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.connection.noop()[0] == 250)
        return False


class _Backend(EmailBackend):
    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """The class of the connection that `open` makes."""
        return WatchedTLSConnection if self.use_ssl else WatchedConnection

    @property
    def half_open_connection(self) -> Any:
        """What `open` leaves behind if TLS or the log-in fails, or None."""
        return self._partial_connection  # type: ignore[attr-defined]  # not in stubs


def _hang_up(connection: smtplib.SMTP | None) -> None:
    if connection is not None:
        connection.close()


def _reply(error: BaseException) -> Reply | None:
    """The server's reply in the error; None if there was none."""
    if not isinstance(error, smtplib.SMTPResponseException):
        return None
    stage = "CONNECT"
    if isinstance(error, CommandRefused):
        stage = error.stage
    elif isinstance(error, smtplib.SMTPAuthenticationError):
        stage = "AUTH"
    return Reply(stage, error.smtp_code, _decoded(error.smtp_error))


def _decoded(text: bytes | str) -> str:
    return as_text(text.decode(errors="replace") if isinstance(text, bytes) else text)


def _failure(call: Call, error: Exception) -> SendFailure:
    reply = _reply(error)
    if reply is not None and reply.is_refusal:
        return _refusal(reply)
    reason = "no reply within the deadline" if call.is_expired else type(error).__name__
    if call.is_written:
        return OutcomeUnknown(f"The reply to the message was lost: {reason}")
    if type(error) in {smtplib.SMTPNotSupportedError, smtplib.SMTPException}:
        return AccountError(str(error))  # no STARTTLS, or no AUTH method that we know
    if not isinstance(error, OSError):
        return MessageError(f"The e-mail cannot be encoded: {reason}")
    return not_reached(error, reason)


def _refusal(reply: Reply) -> SendFailure:
    maker = kind_of(reply) or UnmappedError
    return maker(reply.text, code=reply.label)
