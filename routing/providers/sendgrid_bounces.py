"""What a bounce from SendGrid means: why a mail came back, and whose fault it was.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
https://www.twilio.com/docs/sendgrid/ui/sending-email/bounces (classifications)

Only RECIPIENT means that there is no such mailbox, which suppresses the address.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.providers.smtp_status import (
    Enhanced,
    names_nobody,
    says_nobody_is_there,
)
from routing.text.untrusted import as_text
from routing.vocabulary import ErrorClass

CLASSIFICATIONS = {
    "invalid address": ErrorClass.RECIPIENT,
    "mailbox unavailable": ErrorClass.NOT_NOW,  # full, suspended
    "content": ErrorClass.MESSAGE,
    "reputation": ErrorClass.PROVIDER,
    "frequency or volume too high": ErrorClass.PROVIDER,
    "technical failure": ErrorClass.PROVIDER,
}

FULL = "2.2"  # the mailbox, by its enhanced status


def bounce_class(event: Mapping[str, Any]) -> ErrorClass:
    """Whose fault it was. "blocked" is a server's policy, whatever reason it gives."""
    if as_text(event.get("type")).lower() == "blocked":
        return ErrorClass.PROVIDER
    reason, status = as_text(event.get("reason")), _status_of(event)
    words = as_text(event.get("bounce_classification")).lower()
    if words in CLASSIFICATIONS:
        found = CLASSIFICATIONS[words]
        is_full = status is not None and status.key == FULL
        is_vague = found == ErrorClass.NOT_NOW
        return ErrorClass.MAILBOX_FULL if is_full and is_vague else found
    if status is not None:
        return _by_status(status)
    return ErrorClass.RECIPIENT if names_nobody(reason) else ErrorClass.PROVIDER


def _status_of(event: Mapping[str, Any]) -> Enhanced | None:
    """The first that says something: 5.0.0 does not."""
    texts = (as_text(event.get("status")), as_text(event.get("reason")))
    found = map(Enhanced.find, texts)
    return next((each for each in found if each and each.subject), None)


def _by_status(status: Enhanced) -> ErrorClass:
    if status.key in {"1.7", "1.8"}:
        return ErrorClass.ACCOUNT  # it is about the sender's address, ours
    if status.subject == 1 and status.is_for_good and says_nobody_is_there(status):
        return ErrorClass.RECIPIENT
    if status.key == FULL:
        return ErrorClass.MAILBOX_FULL
    if status.subject in {1, 2}:
        return ErrorClass.NOT_NOW
    return ErrorClass.MESSAGE if status.subject == 6 else ErrorClass.PROVIDER
