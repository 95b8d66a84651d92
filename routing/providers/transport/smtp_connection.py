"""A connection to an SMTP server, and how a mail is sent over it.

RFC 5321, RFC 2920 (PIPELINING). smtplib connects, sends EHLO and STARTTLS, logs in, and
reads replies.
"""

from __future__ import annotations

import smtplib
import socket
from typing import Any, BinaryIO

from routing.providers.transport.deadline import current_call
from routing.providers.transport.mime import WrittenMail

REPLY_LIMIT = 1 << 20  # bytes of one reply

# The replies with which each command before the body succeeds.
_WELCOME = {
    "MAIL": frozenset({250}),
    "RCPT": frozenset({250, 251}),
    "DATA": frozenset({354}),
}


class CommandRefused(smtplib.SMTPResponseException):
    """The server refused a command of a mail."""

    def __init__(self, stage: str, code: int, text: bytes) -> None:
        super().__init__(code, text)
        self.stage = stage  # MAIL, RCPT, or DATA for it and for the body


class WatchedConnection(smtplib.SMTP):
    """Tells the current call which socket it uses, and when the body leaves."""

    def deliver(self, mail: WrittenMail) -> None:
        """Send a mail; raises CommandRefused if the server refuses any step.

        1. Send MAIL, RCPT and DATA: one by one, or all at once if the server allows it,
           which saves two round trips.
        2. Read the replies. Whatever they are, the mail has not been sent.
        3. Send the body only after three good replies, and read the last one.
        """
        self.ehlo_or_helo_if_needed()
        self._ask(self._commands(mail))
        current_call().is_written = True
        self.send(mail.content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        code, text = self.getreply()
        if code != 250:
            self._close_if_dismissed(code)
            raise CommandRefused("DATA", code, text)

    def _commands(self, mail: WrittenMail) -> dict[str, str]:
        size = f" SIZE={len(mail.content)}" if self.has_extn("size") else ""
        return {
            "MAIL": f"MAIL FROM:<{mail.sender}>{size}\r\n",
            "RCPT": f"RCPT TO:<{mail.recipient}>\r\n",
            "DATA": "DATA\r\n",
        }

    def _ask(self, commands: dict[str, str]) -> None:
        is_pipelined = self.has_extn("pipelining")
        if is_pipelined:
            self.send("".join(commands.values()))
        unread = len(commands)
        for stage, command in commands.items():
            if not is_pipelined:
                self.send(command)
            code, text = self.getreply()
            unread -= 1
            if code not in _WELCOME[stage]:
                self._withdraw(code, unread if is_pipelined else 0)
                raise CommandRefused(stage, code, text)

    def _withdraw(self, code: int, unread: int) -> None:
        """End a refused mail, so that the session can be used for the next one.

        Reads the replies that are still to come. A server that asks for the body of a
        mail without recipients gets an empty one (RFC 2920, §3.1). An error in here
        does not replace the refusal.
        """
        self._close_if_dismissed(code)
        try:
            while self.sock is not None and unread:
                unread -= 1
                self._answer_to(self.getreply()[0])
            if self.sock is not None:
                self.rset()
        except OSError:  # and with it SMTPException
            self.close()

    def _answer_to(self, code: int) -> None:
        self._close_if_dismissed(code)
        if code == 354:
            self.send(b".\r\n")
            self.getreply()

    def _close_if_dismissed(self, code: int) -> None:
        """421 ends the session; after an unreadable reply it is out of step."""
        if code == 421 or code < 0:
            self.close()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return current_call().connect(host, port)

    def starttls(self, *args: Any, **options: Any) -> tuple[int, bytes]:
        reply = super().starttls(*args, **options)
        if self.sock is not None:
            current_call().use(self.sock)  # the one that TLS has wrapped
        return reply

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _BoundedLines(self.sock.makefile("rb"))
        return super().getreply()


class WatchedTLSConnection(WatchedConnection, smtplib.SMTP_SSL):
    """The same, over TLS from the first byte."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        wrapped = self.context.wrap_socket(plain, server_hostname=host)
        current_call().use(wrapped)
        return wrapped


class _BoundedLines:
    """A connection's replies, complete and of limited length.

    smtplib limits the length of a line, but not the number of lines in a reply, and
    takes a line that was cut off for a whole one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes_left = REPLY_LIMIT

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(limit)
        self._bytes_left -= len(line)
        if self._bytes_left < 0:
            raise OSError(f"The reply is longer than {REPLY_LIMIT} bytes.")
        if line and not line.endswith(b"\n"):
            raise OSError("The reply was cut off.")  # "250 2." may be half of anything
        if line[3:4] != b"-":
            self._bytes_left = REPLY_LIMIT
        return line

    def close(self) -> None:
        self._file.close()
