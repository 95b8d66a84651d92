"""Our own MIME reads like the input, and like Django's."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing.providers.base import MessageError, OutboundMessage
from routing.providers.transport.mail import compose
from routing.providers.transport.mime import write

SENDER = '"Grüße, Ltd." <shop@example.com>'

# Letters of many scripts and all ASCII; line ends only in bodies.
letters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
subjects = st.text(letters, max_size=300)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])
bodies = st.lists(
    st.text(letters, max_size=100)
    | st.sampled_from([".", "..", " ", "=", "From x", "a" * 999, "ü" * 600, "\t \0"])
    | line_ends,
    max_size=20,
).map("".join)


def message(**fields):
    values = {"reference": "m1a1", "recipient": "ada@example.com", "body": "Hello"}
    return OutboundMessage(**(values | fields))


def written(**fields):
    return message_from_bytes(
        write(message(**fields), sender=SENDER).content, policy=default
    )


def composed(**fields):
    mail = compose(message(**fields), sender=SENDER).message()
    return message_from_bytes(mail.as_bytes(linesep="\r\n"), policy=default)


def lines_of(mail):
    text = mail.get_payload(decode=True).decode()
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


@given(subject=subjects, body=bodies)
@example(subject="=?utf-8?q?not_encoded?=", body="")
@example(subject="a" * 2000, body="a" * 2000)
@example(subject="word " * 60, body="ends in a blank \n")
def test_subject_and_body_read_as_they_were(subject, body):
    mail = written(subject=subject, body=body)

    assert str(mail["Subject"]).split() == subject.split()
    assert lines_of(mail) == body.replace("\r\n", "\n").replace(
        "\r", "\n"
    ).removesuffix("\n")


@given(subject=subjects, body=bodies, url=st.sampled_from(["", "https://x.org/u/1/"]))
def test_a_mail_reads_as_the_one_that_django_writes(subject, body, url):
    fields = {"subject": subject.replace("=?", ""), "body": body}
    ours = written(**fields, unsubscribe_url=url)
    djangos = composed(**fields, unsubscribe_url=url)

    for name in {*djangos} - {"Message-ID", "Date", "Content-Transfer-Encoding"}:
        assert str(ours[name]).split() == str(djangos[name]).split()
    assert lines_of(ours) == lines_of(djangos)
    assert not (ours.defects or ours["Subject"].defects)


@given(subject=subjects, body=bodies)
def test_every_line_is_one_that_any_server_takes(subject, body):
    content = write(message(subject=subject, body=body), sender=SENDER).content

    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert all(line.isascii() and not {*b"\r\n\0"} & {*line} for line in lines)
    assert content.endswith(b"\r\n")


def test_an_international_domain_goes_by_the_name_that_dns_knows():
    mail = write(message(recipient="Ada@faß.example"), sender="Shop <a@müller.example>")

    assert mail.recipient == "ada@xn--fa-hia.example"
    assert mail.sender == "a@xn--mller-kva.example"
    assert mail.message_id == "<m1a1@xn--mller-kva.example>"


def test_a_mail_has_a_date_an_id_and_its_sender():
    mail = written()

    assert parsedate_to_datetime(mail["Date"]).year >= 2025
    assert mail["Message-ID"] == "<m1a1@example.com>"
    assert mail["From"] == '"Grüße, Ltd." <shop@example.com>'


def test_half_a_character_is_refused():
    with pytest.raises(MessageError, match="half a character"):
        write(message(body="\ud83d"), sender=SENDER)
