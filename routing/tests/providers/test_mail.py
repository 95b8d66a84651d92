"""No text in a message becomes a header of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.providers.base import (
    AccountError,
    MessageError,
    OutboundMessage,
    RecipientError,
    SendFailure,
)
from routing.providers.transport.mail import compose
from routing.providers.transport.mime import write

SENDER = "Shop <shop@example.com>"
EXPECTED = {
    "Content-Type",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "X-Message-Reference",
}
# Everything that ends a line in some program, and what might follow.
CONTROLS = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x85",
    "\u2028",
    "\u2029",
]
poisons = st.lists(
    st.sampled_from([*CONTROLS, "Bcc: eve@example.com", " ", "a", '"', "<", "é", "🙂"])
    | st.characters(),
    max_size=12,
).map("".join)


def message(**fields):
    values = {
        "reference": "m1a1",
        "recipient": "ada@example.com",
        "subject": "News",
        "body": "Hello",
        "unsubscribe_url": "https://example.com/unsubscribe/x/",
    }
    return OutboundMessage(**(values | fields))


def headers_of(**fields):
    """Names of the headers that are sent."""
    head, _, _ = write(message(**fields), sender=SENDER).content.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\n") if not line.startswith((b" ", b"\t"))]
    return {line.split(b":")[0].decode() for line in lines}


@pytest.mark.parametrize("field", ["subject", "reference", "unsubscribe_url"])
@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_a_control_character_in_a_field_is_refused(field, control):
    with pytest.raises(MessageError, match="control character"):
        compose(message(**{field: f"a{control}b"}), sender=SENDER)


@pytest.mark.parametrize("control", [*CONTROLS, "\x01"], ids=repr)
@pytest.mark.parametrize("form", ["a{}b@example.com", '"a{}b"@example.com'])
def test_a_control_character_in_an_address_is_refused(control, form):
    with pytest.raises(RecipientError, match="not an e-mail address"):
        compose(message(recipient=form.format(control)), sender=SENDER)


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_a_control_character_in_the_sender_is_the_accounts_fault(control):
    with pytest.raises(AccountError, match="FROM"):
        compose(message(), sender=f"Shop{control}X <shop@example.com>")


@given(subject=poisons, recipient=poisons, reference=poisons, url=poisons)
def test_no_text_smuggles_a_header_in(subject, recipient, reference, url):
    for fields in (
        {"subject": subject},
        {"recipient": f'"{recipient}"@example.com'},
        {"reference": reference},
        {"unsubscribe_url": url},
    ):
        try:
            assert headers_of(**fields) <= EXPECTED
        except SendFailure:
            continue  # refused, which is fine too
