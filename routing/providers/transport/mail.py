"""The e-mail that both of our ways to send one start from."""

from __future__ import annotations

from email.utils import parseaddr
from functools import lru_cache

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from routing.providers.base import (
    AccountError,
    MessageError,
    OutboundMessage,
    RecipientError,
)
from routing.text.email_addresses import EmailAddressError, canonical_email
from routing.text.header_text import is_one_line


def compose(message: OutboundMessage, *, sender: str) -> EmailMessage:
    """A plain text e-mail to one recipient, as Django knows it; raises as `check`."""
    check(message, sender=sender)
    return EmailMessage(
        subject=message.subject,
        body=message.body,
        from_email=sender,
        to=[envelope_recipient(message)],
        headers=one_click(message.unsubscribe_url),
    )


def check(message: OutboundMessage, *, sender: str) -> None:
    """Refuse what no e-mail can be made of.

    Raises RecipientError for what is no address, and MessageError for what an e-mail
    cannot carry. A line break in any of its fields could smuggle a header in. A sender
    that is no address is an AccountError.
    """
    if not _is_sender(sender):
        raise AccountError("FROM is not an e-mail address.")
    if message.media_urls:
        raise MessageError("An e-mail carries no media URLs.")
    if not is_one_line(message.subject):
        raise MessageError("The subject has a line break or another control character.")
    if not is_address(envelope_recipient(message)):
        raise RecipientError("The recipient is not an e-mail address.")
    if not is_one_line(message.reference + message.unsubscribe_url):
        raise MessageError("The reference or unsubscribe URL has a control character.")


def envelope_recipient(message: OutboundMessage) -> str:
    """The recipient in the one form in which it is sent to, whichever is stored.

    Raises RecipientError for what has none.
    """
    try:
        return canonical_email(message.recipient)
    except EmailAddressError as error:
        raise RecipientError(
            f"The recipient is not an e-mail address: {error}."
        ) from None


@lru_cache(maxsize=64)
def _is_sender(text: str) -> bool:
    try:
        address = canonical_email(parseaddr(text)[1])
    except EmailAddressError:
        return False
    return is_one_line(text) and is_address(address)


def one_click(url: str) -> dict[str, str]:
    """What makes mail programs show their own unsubscribe button (RFC 8058)."""
    if not url:
        return {}
    return {
        "List-Unsubscribe": f"<{url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def is_address(text: str) -> bool:
    """Whether it is an e-mail address, and one that can stand in a header."""
    if not is_one_line(text):  # Django takes some controls in a quoted local part
        return False
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True
