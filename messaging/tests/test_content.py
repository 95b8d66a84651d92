"""What a message may say, and how its fields are filled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.content import (
    BODY_LIMITS,
    MEDIA_LIMIT,
    SUBJECT_LIMIT,
    ContentError,
    check_body,
    check_fields,
    check_media,
    check_subject,
    fields_of,
    render,
)
from routing.vocabulary import Channel

NO_CHANNEL_BUT_EMAIL = [Channel.SMS, Channel.MMS]
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
# Texts that are full of what could be mistaken for a field.
tricky_texts = st.lists(
    st.sampled_from(["{{", "}}", "{", "}", " ", "name", "{{name}}", "%s", "\\1", "a"])
).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "{% include 'admin/base.html' %}",
        "{{settings.SECRET_KEY}}",
        "{{ name|safe }}",
        "{{ name.__class__ }}",
        "{0.__class__}",
        "{name}",
        "%(name)s ${name} $name",
        "{{first name}}",
        "{{}} {{ }} {{1st}} {{näme}}",
        "{{{name}",
        "{# comment #}",
    ],
)
def test_whatever_is_not_a_plain_field_stays_as_it_was_written(text):
    assert fields_of(text) == []
    assert render(text, {"name": "Ann", "settings": "oops"}) == text


@pytest.mark.parametrize("text", ["{{name}}", "{{ Name }}", "{{\tNAME }}", "{{name }}"])
def test_a_field_is_filled_whatever_its_case_and_spaces(text):
    assert fields_of(text) == ["name"]
    assert render(f"Hi {text}!", {"name": "Ann"}) == "Hi Ann!"


@given(value=tricky_texts)
def test_the_text_of_a_value_is_never_looked_at_again(value):
    result = render("<{{a}}|{{b}}>", {"a": value, "b": value, "name": "Ann"})

    assert result == f"<{value}|{value}>"


@given(text=tricky_texts)
def test_a_text_is_unchanged_where_nothing_can_fill_its_fields(text):
    assert render(text, {}) == text


@given(st.lists(names, max_size=5))
def test_the_fields_of_a_text_are_told_once_each_and_in_order(wanted):
    text = " ".join(f"{{{{{name}}}}}" for name in [*wanted, *wanted])

    assert fields_of(text) == list(dict.fromkeys(map(str.lower, wanted)))


def test_a_field_without_a_column_is_refused_by_name():
    with pytest.raises(ContentError) as refusal:
        check_fields("Hi {{Surname}} of {{city}}", ["phone", "city"])

    assert str(refusal.value) == (
        "The text uses {{surname}}, but there is no such column. Columns: phone, city."
    )


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

    with pytest.raises(ContentError, match=r"body .* not UTF-8"):
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
