"""What a message may contain: limits per channel. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from urllib.parse import unquote

from messaging.rules.public_urls import problem_with_url
from messaging.rules.quiet_hours import QuietHours
from routing.text.header_text import is_one_line
from routing.vocabulary import CampaignKind, Channel

# Characters. SMS and MMS: Twilio's limit for `Body`; e-mail: our own limit.
BODY_LIMITS = {Channel.SMS: 1600, Channel.MMS: 1600, Channel.EMAIL: 262_144}
SUBJECT_LIMIT = 500
MEDIA_LIMIT = 10  # per MMS, Twilio's limit

# Halves of surrogate pairs, which stand for invalid bytes on the command line.
_HALVES = re.compile("[\ud800-\udfff]")


class ContentError(ValueError):
    """The text cannot be sent as it is."""


def is_unicode(text: str) -> bool:
    """Whether the text can be stored; invalid bytes from the command line cannot."""
    return text.isascii() or not _HALVES.search(text)


def check_body(channel: Channel, body: str) -> None:
    """Refuse a body that is empty, too long for its channel, or not text."""
    if not body.strip():
        raise ContentError("The body is empty.")
    check_length(channel, len(body))
    if "\0" in body:
        raise ContentError("The body contains a NUL character. Remove it.")
    if not is_unicode(body):
        raise ContentError("The body is not valid UTF-8. Remove the invalid bytes.")


def check_length(channel: Channel, length: int) -> None:
    """Refuse a body that is too long for its channel."""
    if length > (limit := BODY_LIMITS[channel]):
        raise ContentError(
            f"The body has {length} characters; {channel.label} allows {limit}. "
            "Shorten it."
        )


def check_subject_length(length: int) -> None:
    """Refuse a subject that is too long."""
    if length > SUBJECT_LIMIT:
        raise ContentError(f"The subject is longer than {SUBJECT_LIMIT} characters.")


def check_subject(channel: Channel, subject: str) -> None:
    """Require a one-line subject for e-mail, and none on other channels."""
    if channel != Channel.EMAIL:
        if subject:
            raise ContentError(f"{channel.label} has no subject. Leave it out.")
        return
    if not subject.strip():
        raise ContentError("An e-mail needs a subject.")
    check_subject_length(len(subject))
    if not is_one_line(subject):
        raise ContentError("The subject must be one line, without control characters.")


def check_times(
    scheduled_at: datetime | None, expires_at: datetime | None, *, now: datetime
) -> None:
    """Refuse a schedule in the past, and an expiry that leaves no time to send."""
    if scheduled_at is not None and scheduled_at <= now:
        raise ContentError(
            f"The scheduled time {scheduled_at.isoformat()} is in the past. "
            "Leave it out to send at once."
        )
    starts_at = scheduled_at or now
    if expires_at is not None and expires_at <= starts_at:
        raise ContentError(
            f"The expiry {expires_at.isoformat()} is not after the time to send, "
            f"{starts_at.isoformat()}."
        )


def check_quiet_hours(kind: CampaignKind, hours: QuietHours | None) -> None:
    """Allow quiet hours for marketing only."""
    if hours is not None and kind != CampaignKind.MARKETING:
        raise ContentError(
            f"A {kind.label.lower()} campaign has no quiet hours, because recipients "
            "wait for it. Leave them out."
        )


def check_media(channel: Channel, media_urls: Collection[str]) -> None:
    """Require https URLs on public hosts for MMS, and no media on other channels."""
    if channel != Channel.MMS:
        if media_urls:
            raise ContentError(f"{channel.label} carries no media. Use MMS.")
        return
    if not media_urls:
        raise ContentError("An MMS needs at least one media URL.")
    if len(media_urls) > MEDIA_LIMIT:
        raise ContentError(f"An MMS can have at most {MEDIA_LIMIT} media URLs.")
    for url in media_urls:
        if "{{" in unquote(unquote(url)):  # even if it was encoded twice
            raise ContentError(
                f"The media URL {url[:100]!r} has a merge field; URLs cannot have any."
            )
        if problem := problem_with_url(url):
            raise ContentError(
                f"The media URL {url[:100]!r} {problem}. Put the file on a public "
                "host, such as https://cdn.example.com/a.jpg."
            )
