"""What a message may contain."""

from __future__ import annotations

import pytest

from messaging.rules.content import (
    BODY_LIMITS,
    MEDIA_LIMIT,
    SUBJECT_LIMIT,
    ContentError,
    check_body,
    check_media,
    check_subject,
)
from routing.vocabulary import Channel

NO_CHANNEL_BUT_EMAIL = [Channel.SMS, Channel.MMS]


@pytest.mark.parametrize("channel", Channel)
def test_a_body_may_be_as_long_as_its_channel_takes_and_no_longer(channel):
    limit = BODY_LIMITS[channel]
    check_body(channel, "x" * limit)

    with pytest.raises(ContentError, match=f"has {limit + 1} characters.*Shorten"):
        check_body(channel, "x" * (limit + 1))


@pytest.mark.parametrize("body", ["", "  \n\t "])
def test_a_body_that_says_nothing_is_refused(body):
    with pytest.raises(ContentError, match="body is empty"):
        check_body(Channel.SMS, body)


def test_a_body_with_a_nul_character_is_refused():
    with pytest.raises(ContentError, match="body contains a NUL"):
        check_body(Channel.SMS, "a\0b")


def test_a_body_that_is_not_unicode_is_refused():
    as_argv_has_it = b"caf\xe9".decode("utf-8", "surrogateescape")

    with pytest.raises(ContentError, match="body is not valid UTF-8"):
        check_body(Channel.SMS, as_argv_has_it)


@pytest.mark.parametrize("channel", NO_CHANNEL_BUT_EMAIL)
def test_only_an_e_mail_has_a_subject(channel):
    check_subject(channel, "")

    with pytest.raises(ContentError, match=f"{channel.label} has no subject"):
        check_subject(channel, "News")


@pytest.mark.parametrize("subject", ["", "  "])
def test_an_e_mail_needs_a_subject(subject):
    with pytest.raises(ContentError, match="needs a subject"):
        check_subject(Channel.EMAIL, subject)


def test_a_subject_is_at_most_as_long_as_its_column():
    check_subject(Channel.EMAIL, "x" * SUBJECT_LIMIT)

    with pytest.raises(ContentError, match="longer than 500 characters"):
        check_subject(Channel.EMAIL, "x" * (SUBJECT_LIMIT + 1))


@pytest.mark.parametrize(
    "character",
    ["\n", "\r", "\0", "\t", "\x0b", "\x1c", "\x7f", "\x85", "\u2028", "\u2029"],
)
def test_a_subject_cannot_smuggle_in_another_header(character):
    with pytest.raises(ContentError, match="must be one line"):
        check_subject(Channel.EMAIL, f"News{character}Bcc: everybody@example.com")


@pytest.mark.parametrize("subject", ["Grüße", "50 % off", "Família 👨‍👩‍👧", "שלום"])
def test_a_subject_may_use_any_script(subject):
    check_subject(Channel.EMAIL, subject)


@pytest.mark.parametrize("channel", [Channel.SMS, Channel.EMAIL])
def test_only_an_mms_carries_media(channel):
    check_media(channel, [])

    with pytest.raises(ContentError, match=f"{channel.label} carries no media"):
        check_media(channel, ["https://example.com/a.png"])


def test_an_mms_carries_one_to_ten_media():
    urls = ["https://example.com/a.png"] * (MEDIA_LIMIT + 1)
    check_media(Channel.MMS, urls[:1])
    check_media(Channel.MMS, urls[:MEDIA_LIMIT])

    with pytest.raises(ContentError, match="at least one"):
        check_media(Channel.MMS, [])
    with pytest.raises(ContentError, match="at most 10"):
        check_media(Channel.MMS, urls)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://example.com",
        "https:///a.png",
        "https://user:password@example.com/a.png",
        "https://example.com/a b.png",
        "https://example.com/a.png\nX: y",
        "https://example.com/\udcff.png",
        "https://example.com/ü.png",
        "file:///etc/passwd",
        "",
    ],
)
def test_media_come_by_https_urls_only(url):
    with pytest.raises(ContentError, match="is not an https URL"):
        check_media(Channel.MMS, [url])


@pytest.mark.parametrize(
    "field",
    ["{{picture}}", "%7B%7bpicture%7D%7D", "{%7Bpicture}}", "%257B%257Bpicture"],
)
def test_a_media_url_has_no_fields(field):
    with pytest.raises(ContentError, match="has a merge field"):
        check_media(Channel.MMS, [f"https://example.com/{field}.png"])
