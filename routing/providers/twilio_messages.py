"""Finding one of our messages among those that Twilio lists.

https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources

Twilio does not return our reference there, so recipient, sender, time, media and text
must fit, and only one message may: of two that fit, nobody can say which it is. Times
are compared by Twilio's clock. The same text at another time is in doubt, since either
clock may have been changed in between.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from routing.providers.base import Enquiry, LookUpFailed
from routing.providers.transport.http import Answer, by_clock_of
from routing.text.untrusted import as_count, as_object, as_text

PAGE_SIZE = 200  # some 300 KiB
# Ours and Twilio's, after the Date of its answer was allowed for.
CLOCKS_APART = timedelta(seconds=30)
TRIAL_PREFIX = "Sent from your Twilio trial account - "

Resource = dict[str, Any]


def find_in(
    answer: Answer, enquiry: Enquiry, *, may_be_reworded: bool
) -> Resource | None:
    """The message on a page of one recipient's; None if it certainly is not there.

    Raises LookUpFailed if that is uncertain: several could be the one, the text may
    have been changed (a Messaging Service has "smart encoding"), or the same text was
    sent at another time.
    """
    enquiry = by_clock_of(answer, enquiry)
    alike = [each for each in _listed(answer, enquiry) if _is_alike(each, enquiry)]
    in_time = [each for each in alike if _is_in_time(each, enquiry)]
    same_text = [each for each in alike if _says(each, enquiry.message.body)]
    exact = [each for each in same_text if each in in_time]
    if len(exact) > 1:
        raise LookUpFailed("Several messages there could be this one.")
    if exact:
        return exact[0]
    if in_time and may_be_reworded:
        raise LookUpFailed("A message there may be this one, with another text.")
    if same_text:
        raise LookUpFailed(
            "A message there has the same text, but another time.",
            doubtful=[as_text(each.get("sid")) for each in same_text],
        )
    return None


def _listed(answer: Answer, enquiry: Enquiry) -> list[Resource]:
    """The messages of a page, newest first; it must reach back to the enquiry."""
    page = answer.json()
    messages = page.get("messages")
    if not isinstance(messages, list):
        raise LookUpFailed("Twilio's answer has no list of messages.")
    listed = [as_object(each) for each in messages]
    if page.get("next_page_uri") and listed:
        oldest = _created_at(listed[-1])
        if oldest is None or oldest >= enquiry.since - CLOCKS_APART:
            raise LookUpFailed("Too many messages went to this recipient.")
    return listed


def _is_alike(resource: Resource, enquiry: Enquiry) -> bool:
    """Whether, by its kind, it may be the one."""
    is_outbound = as_text(resource.get("direction")).startswith("outbound")
    media_count = as_count(resource.get("num_media"))
    return is_outbound and media_count == len(enquiry.message.media_urls)


def _is_in_time(resource: Resource, enquiry: Enquiry) -> bool:
    created_at = _created_at(resource)
    return created_at is None or (
        enquiry.since - CLOCKS_APART <= created_at <= enquiry.until + CLOCKS_APART
    )


def _says(resource: Resource, body: str) -> bool:
    """Whether this is the text. A trial account puts words of its own before it."""
    text = " ".join(str(resource.get("body") or "").split())
    wanted = " ".join(body.split())
    return text in (wanted, f"{TRIAL_PREFIX}{wanted}")


def _created_at(resource: Resource) -> datetime | None:
    try:
        created_at = parsedate_to_datetime(as_text(resource.get("date_created")))
    except ValueError:
        return None
    return created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)
