"""The checks and headers that all e-mail providers share."""

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
    """A plain text e-mail to one recipient, as Django's class; raises as `check`."""
    check(message, sender=sender)
    return EmailMessage(
        subject=message.subject,
        body=message.body,
        from_email=sender,
        to=[envelope_recipient(message)],
        headers=one_click(message.unsubscribe_url),
    )


def check(message: OutboundMessage, *, sender: str) -> None:
    """Refuse messages that cannot become an e-mail.

    Raises RecipientError if the recipient is not an address, MessageError for content
    that an e-mail cannot carry (a line break in a field could inject a header), and
    AccountError if the sender is not an address.
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
    """The recipient in its canonical form, which is the one that we send to.

    Raises RecipientError if it has none.
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
    """The headers that make mail programs show an unsubscribe button (RFC 8058)."""
    if not url:
        return {}
    return {
        "List-Unsubscribe": f"<{url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def is_address(text: str) -> bool:
    """Whether it is an e-mail address that is safe in a header."""
    if not is_one_line(text):  # Django accepts some controls in a quoted local part
        return False
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True
