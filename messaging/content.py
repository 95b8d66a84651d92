"""What a message may say: limits per channel, and fields filled in by an allow-list.

Pure. No template engine ever sees a user's text: `{{first_name}}` is replaced by the
value of that name and everything else stays as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime

from messaging.public_urls import problem_with_url
from messaging.quiet_hours import QuietHours
from routing.header_text import is_one_line
from routing.vocabulary import CampaignKind, Channel

# Characters. SMS and MMS: the most that Twilio takes in `Body`; e-mail: our own bound.
BODY_LIMITS = {Channel.SMS: 1600, Channel.MMS: 1600, Channel.EMAIL: 262_144}
SUBJECT_LIMIT = 500
MEDIA_LIMIT = 10  # of MMS, the most that Twilio takes
# Filled when a marketing e-mail leaves, unless its recipients bring a value themselves.
UNSUBSCRIBE_FIELD = "unsubscribe_url"

_FIELD = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


class ContentError(ValueError):
    """The text cannot be sent as it is."""


def fields_of(text: str) -> list[str]:
    """The names of the fields that a text wants filled, each once, in order."""
    return list(dict.fromkeys(match.lower() for match in _FIELD.findall(text)))


def own_fields(channel: Channel, kind: CampaignKind) -> list[str]:
    """The fields of a body that are filled when it leaves, without a value."""
    is_marketing_mail = (channel, kind) == (Channel.EMAIL, CampaignKind.MARKETING)
    return [UNSUBSCRIBE_FIELD] if is_marketing_mail else []


def unfilled_fields(
    subject: str, body: str, values: Collection[str], own: Collection[str]
) -> list[str]:
    """The fields that neither a value nor `own_fields` would fill."""
    wanted = [*fields_of(subject), *(n for n in fields_of(body) if n not in own)]
    return [name for name in wanted if name not in values]


def render(text: str, values: Mapping[str, str]) -> str:
    """Fill the fields of a text; the text of a value is never looked at again."""
    return _FIELD.sub(lambda match: values.get(match[1].lower(), match[0]), text)


def is_unicode(text: str) -> bool:
    """Whether it can be stored; what the command line got as other bytes cannot."""
    return text.isascii() or not any(
        "\ud800" <= character <= "\udfff" for character in text
    )


def check_fields(text: str, allowed: Collection[str]) -> None:
    """Refuse fields that nothing can fill."""
    if unknown := [name for name in fields_of(text) if name not in allowed]:
        raise ContentError(
            f"The text uses {{{{{unknown[0]}}}}}, but there is no such column. "
            f"Columns: {', '.join(filter(None, allowed))}."
        )


def check_body(channel: Channel, body: str) -> None:
    """Refuse a body that is empty, too long for its channel, or not text."""
    if not body.strip():
        raise ContentError("The body is empty.")
    limit = BODY_LIMITS[channel]
    if len(body) > limit:
        raise ContentError(
            f"The body has {len(body)} characters; {channel.label} takes {limit}. "
            "Shorten it."
        )
    if "\0" in body:
        raise ContentError("The body contains a NUL character. Remove it.")
    if not is_unicode(body):
        raise ContentError("The body has bytes that are not UTF-8. Remove them.")


def check_subject(channel: Channel, subject: str) -> None:
    """E-mail has a subject of one line, the other channels have none."""
    if channel != Channel.EMAIL:
        if subject:
            raise ContentError(f"{channel.label} has no subject. Leave it out.")
        return
    if not subject.strip():
        raise ContentError("An e-mail needs a subject.")
    if len(subject) > SUBJECT_LIMIT:
        raise ContentError(f"The subject is longer than {SUBJECT_LIMIT} characters.")
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
        if problem := problem_with_url(url):
            raise ContentError(
                f"The media URL {url[:100]!r} {problem}. Put the file on a public "
                "host, such as https://cdn.example.com/a.jpg."
            )
