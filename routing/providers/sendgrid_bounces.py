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


def bounce_class(event: Mapping[str, Any]) -> ErrorClass:
    """Whose fault it was. "blocked" is a server's policy, whatever reason it gives."""
    if as_text(event.get("type")).lower() == "blocked":
        return ErrorClass.PROVIDER
    words = as_text(event.get("bounce_classification")).lower()
    if words in CLASSIFICATIONS:
        return CLASSIFICATIONS[words]
    reason = as_text(event.get("reason"))
    for text in (as_text(event.get("status")), reason):
        status = Enhanced.find(text)
        if status is not None and status.subject:  # 5.0.0 says nothing
            return _by_status(status)
    return ErrorClass.RECIPIENT if names_nobody(reason) else ErrorClass.PROVIDER


def _by_status(status: Enhanced) -> ErrorClass:
    if status.key in {"1.7", "1.8"}:
        return ErrorClass.ACCOUNT  # it is about the sender's address, ours
    if status.subject == 1 and status.is_for_good and says_nobody_is_there(status):
        return ErrorClass.RECIPIENT
    if status.subject in {1, 2}:
        return ErrorClass.NOT_NOW
    return ErrorClass.MESSAGE if status.subject == 6 else ErrorClass.PROVIDER
