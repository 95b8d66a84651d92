"""Every accepted text can be sent: none waits in the queue as poison."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from messaging.addresses import AddressError, parse_address
from messaging.rules.content import ContentError, check_subject
from routing.providers.base import OutboundMessage
from routing.providers.transport.mail import compose
from routing.tests.providers.test_mail import poisons
from routing.vocabulary import Channel

addresses = st.emails() | poisons.map('"{}"@example.com'.format) | poisons


def composed(*, subject="News", recipient="ada@example.com"):
    message = OutboundMessage("m1a1", recipient, "Hello", subject)
    return compose(message, sender="shop@example.com").message()


@given(poisons)
def test_a_subject_that_is_taken_makes_an_email_of_one_subject(subject):
    try:
        check_subject(Channel.EMAIL, subject)
    except ContentError:
        return

    assert len(composed(subject=subject).get_all("Subject")) == 1


@given(addresses)
def test_an_address_that_is_taken_makes_an_email_to_it_alone(text):
    try:
        address = parse_address(Channel.EMAIL, text).text
    except AddressError:
        return

    mail = composed(recipient=address)
    assert len(mail.get_all("To")) == 1
    assert not mail.get_all("Bcc")


@given(poisons | st.just("+14155550101\r\nX: y"))
def test_a_number_that_is_taken_is_digits_alone(text):
    try:
        number = parse_address(Channel.SMS, f"+1415555{text}0101").text
    except AddressError:
        return

    assert number.removeprefix("+").isdigit()
