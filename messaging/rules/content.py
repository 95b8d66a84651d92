"""What a message may say: limits per channel. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from urllib.parse import unquote

from messaging.rules.public_urls import problem_with_url
from messaging.rules.quiet_hours import QuietHours
from routing.text.header_text import is_one_line
from routing.vocabulary import CampaignKind, Channel

# Characters. SMS and MMS: the most that Twilio takes in `Body`; e-mail: our own bound.
BODY_LIMITS = {Channel.SMS: 1600, Channel.MMS: 1600, Channel.EMAIL: 262_144}
SUBJECT_LIMIT = 500
MEDIA_LIMIT = 10  # of MMS, the most that Twilio takes

# Halves of surrogate pairs, as in arguments of the command line that were other bytes.
_HALVES = re.compile("[\ud800-\udfff]")


class ContentError(ValueError):
    """The text cannot be sent as it is."""


def is_unicode(text: str) -> bool:
    """Whether it can be stored; what the command line got as other bytes cannot."""
    return text.isascii() or not _HALVES.search(text)


def check_body(channel: Channel, body: str) -> None:
    """Refuse a body that is empty, too long for its channel, or not text."""
    if not body.strip():
        raise ContentError("The body is empty.")
    check_length(channel, len(body))
    if "\0" in body:
        raise ContentError("The body contains a NUL character. Remove it.")
    if not is_unicode(body):
        raise ContentError("The body has bytes that are not UTF-8. Remove them.")


def check_length(channel: Channel, length: int) -> None:
    """Refuse a body of so many characters."""
    if length > (limit := BODY_LIMITS[channel]):
        raise ContentError(
            f"The body has {length} characters; {channel.label} takes {limit}. "
            "Shorten it."
        )


def check_subject_length(length: int) -> None:
    """Refuse a subject of so many characters."""
    if length > SUBJECT_LIMIT:
        raise ContentError(f"The subject is longer than {SUBJECT_LIMIT} characters.")


def check_subject(channel: Channel, subject: str) -> None:
    """E-mail has a subject of one line, the other channels have none."""
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
            f"The schedule {scheduled_at.isoformat()} is in the past. "
            "Leave it out to send at once."
        )
    starts_at = scheduled_at or now
    if expires_at is not None and expires_at <= starts_at:
        raise ContentError(
            f"The expiry {expires_at.isoformat()} is not after the time to send, "
            f"{starts_at.isoformat()}."
        )


def check_quiet_hours(kind: CampaignKind, hours: QuietHours | None) -> None:
    """Only marketing has any."""
    if hours is not None and kind != CampaignKind.MARKETING:
        raise ContentError(
            f"A {kind.label.lower()} campaign has no quiet hours: somebody waits for "
            "it. Leave them out."
        )


def check_media(channel: Channel, media_urls: Collection[str]) -> None:
    """MMS carries media by https URLs of public hosts, the others carry none."""
    if channel != Channel.MMS:
        if media_urls:
            raise ContentError(f"{channel.label} carries no media. Use MMS.")
        return
    if not media_urls:
        raise ContentError("An MMS needs at least one media URL.")
    if len(media_urls) > MEDIA_LIMIT:
        raise ContentError(f"An MMS carries at most {MEDIA_LIMIT} media.")
    for url in media_urls:
        if "{{" in unquote(unquote(url)):  # however often it was encoded
            raise ContentError(
                f"The media URL {url[:100]!r} has fields: none is filled."
            )
        if problem := problem_with_url(url):
            raise ContentError(
                f"The media URL {url[:100]!r} {problem}. Put the file on a public "
                "host, such as https://cdn.example.com/a.jpg."
            )
