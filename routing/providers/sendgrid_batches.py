"""Many e-mails in one call of SendGrid, each a personalization.

https://www.twilio.com/docs/sendgrid/for-developers/sending-email/personalizations

A personalization has a recipient, headers and arguments of its own. Texts that differ
replace a tag that nobody can guess, so that no text can contain it.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Hashable, Sequence
from typing import Any

from django.core.mail import EmailMessage

from routing.providers.base import MessageError, OutboundMessage
from routing.providers.transport.mail import envelope_recipient, one_click

RECIPIENT_FIELD = "personalizations.0.to.0.email"
_ANY_RECIPIENT = re.compile(r"personalizations\.([0-9]{1,4})\.to\.0\.email")
# Bytes per personalization. SendGrid does not document whether they are counted before
# or after escaping for JSON and HTML, so we count after.
SUBSTITUTIONS_LIMIT = 10_000
_TAGS_SIZE = 200  # of these, for the tags
# Anymail finds a recipient's own values by the address as it writes it. It writes these
# unchanged, and others perhaps not.
_PLAIN_ADDRESS = re.compile(r"\A[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]++@[A-Za-z0-9.-]++")


def batch_key(message: OutboundMessage) -> Hashable | None:
    """Equal for messages that fit into one call; None for one that goes alone.

    Texts that are too long for a substitution share a call with identical ones.
    """
    if not message.body or not _PLAIN_ADDRESS.fullmatch(envelope_recipient(message)):
        return None
    size = _escaped_size(message.subject) + _escaped_size(message.body) + _TAGS_SIZE
    return "" if size <= SUBSTITUTIONS_LIMIT else (message.subject, message.body)


def compose_batch(messages: Sequence[OutboundMessage], *, sender: str) -> EmailMessage:
    """The e-mail from which Anymail makes a personalization per recipient.

    A text that all share is in the e-mail itself. Raises MessageError if two are for
    one recipient.
    """
    recipients = [*map(envelope_recipient, messages)]
    if len({*recipients}) < len(recipients):
        raise MessageError("SendGrid tells messages of a call apart by recipient.")
    tag = f"-{secrets.token_hex(16)}{{}}-"
    subjects = [message.subject for message in messages]
    bodies = [message.body for message in messages]
    own: list[dict[str, str]] = [{} for _ in messages]
    email = EmailMessage(
        subject=_shared("subject", subjects, own, tag),
        body=_shared("body", bodies, own, tag),
        from_email=sender,
        to=recipients,
    )
    merged: dict[str, list[Any]] = {
        "merge_metadata": [{"reference": message.reference} for message in messages],
        "merge_headers": [one_click(message.unsubscribe_url) for message in messages],
        "merge_data": own,
    }
    for attribute, values in merged.items():
        setattr(email, attribute, dict(zip(recipients, values, strict=True)))
    email.esp_extra = {"merge_field_format": tag}  # type: ignore[attr-defined]
    return email


def place_of(field: str) -> int | None:
    """Which message of a call the error's field is about; None for no single one."""
    match = _ANY_RECIPIENT.fullmatch(field)
    return int(match[1]) if match else None


def _shared(
    name: str, texts: Sequence[str], own: Sequence[dict[str, str]], tag: str
) -> str:
    """The common text or, if they differ, a tag that each message's own replaces."""
    if len({*texts}) == 1:
        return texts[0]
    for values, text in zip(own, texts, strict=True):
        values[name] = text
    return tag.format(name)


def _escaped_size(text: str) -> int:
    return len(json.dumps(text)) + 5 * sum(text.count(each) for each in "<>&")
