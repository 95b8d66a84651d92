"""An e-mail as it goes over the wire (RFC 5322, RFC 2045, RFC 2047).

Ours are plain text to one recipient with a dozen headers, so we write them directly:
Python's e-mail package, which handles any mail, takes ten times as long. What is not
plain ASCII in short lines is quoted-printable, so that no server has to accept 8 bits.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from email.header import Header
from email.utils import formataddr, formatdate, parseaddr
from functools import lru_cache

from routing.providers.base import MessageError, OutboundMessage
from routing.providers.transport.mail import check, envelope_recipient, one_click
from routing.text.email_addresses import dns_domain

LINE_LIMIT = 998  # characters, without the line end
_LINE_END = re.compile(r"\r\n|\r|\n")
_SHORT_LINES = re.compile(rb"(?:[^\0\n]{0,%d}(?:\n|\Z))*" % LINE_LIMIT)


@dataclass(frozen=True, slots=True)
class WrittenMail:
    """A mail and its envelope, all in ASCII; lines end with CR LF."""

    sender: str
    recipient: str
    message_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class _Sender:
    header: str
    address: str
    domain: str


def write(message: OutboundMessage, *, sender: str) -> WrittenMail:
    """Encode the mail; raises as `mail.check`, and MessageError for a broken body."""
    check(message, sender=sender)
    origin = _sender(sender)
    recipient = envelope_recipient(message)
    message_id = f"<{message.reference}@{origin.domain}>"
    encoding, body = _body(message.body)
    headers = {
        "Content-Type": 'text/plain; charset="utf-8"',
        "MIME-Version": "1.0",
        "Content-Transfer-Encoding": encoding,
        "Subject": _subject(message.subject),
        "From": origin.header,
        "To": recipient,
        "Date": formatdate(),
        "Message-ID": _words(message_id),
        "X-Message-Reference": _words(message.reference),
    }
    for name, value in one_click(message.unsubscribe_url).items():
        headers[name] = _words(value)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    content = b"%b\r\n%b" % (head.encode("ascii"), body)
    return WrittenMail(origin.address, recipient, message_id, content)


@lru_cache(maxsize=64)
def _sender(sender: str) -> _Sender:
    name, address = parseaddr(sender)
    address = _address(address)
    header = formataddr((name, address)) if name.isascii() else ""
    return _Sender(
        header=header or f"{_words(name)} <{address}>",
        address=address,
        domain=address.rpartition("@")[2],
    )


def _address(address: str) -> str:
    """The address with its domain in IDNA form; the rest is ASCII already."""
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    return f"{local}@{dns_domain(domain)}"


@lru_cache(maxsize=256)
def _subject(subject: str) -> str:
    """Cached, since most of a campaign share one. "=?" would begin an encoded word."""
    is_plain = subject.isascii() and "=?" not in subject and len(subject) < LINE_LIMIT
    charset = "us-ascii" if is_plain else "utf-8"
    return Header(subject, charset, header_name="Subject").encode(linesep="\r\n")


def _words(text: str) -> str:
    return text if text.isascii() else Header(text, "utf-8").encode(linesep="\r\n")


def _body(text: str) -> tuple[str, bytes]:
    """The transfer encoding, and the body in it."""
    try:
        body = _LINE_END.sub("\n", text).encode()
    except UnicodeEncodeError:
        raise MessageError("The body is not text: it has half a character.") from None
    encoding = "7bit"
    if not (body.isascii() and _SHORT_LINES.fullmatch(body)):
        encoding, body = "quoted-printable", binascii.b2a_qp(body)
    if not body.endswith(b"\n"):
        body += b"\n"
    return encoding, body.replace(b"\n", b"\r\n")
