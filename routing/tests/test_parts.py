"""The result of receipts for parts, in whatever order."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.receipts.news import News
from routing.receipts.parts import whole_of
from routing.vocabulary import MessageStatus

SENT, DELIVERED = MessageStatus.SENT, MessageStatus.DELIVERED
FAILED, BOUNCED = MessageStatus.FAILED, MessageStatus.BOUNCED


def said(part, status):
    """A provider's receipt for the part with this id."""
    nothing = dict.fromkeys(News._fields)
    return News(**nothing | {"external_message_id": part, "status": status})


def whole(*statuses, parts=3):
    receipts = [said(f"P{n}", status) for n, status in enumerate(statuses)]
    return whole_of(receipts, parts=parts).status


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((), None),
        ((None,), None),
        ((DELIVERED,), SENT),
        ((DELIVERED, DELIVERED), SENT),
        ((DELIVERED, DELIVERED, DELIVERED), DELIVERED),
        ((DELIVERED, DELIVERED, SENT), SENT),
        ((DELIVERED, DELIVERED, None), SENT),
        ((DELIVERED, DELIVERED, FAILED), FAILED),
        ((DELIVERED, DELIVERED, BOUNCED), BOUNCED),
        ((FAILED, BOUNCED, DELIVERED), BOUNCED),
        ((FAILED,), FAILED),
        ((DELIVERED,) * 4, DELIVERED),  # more than we counted
        ((DELIVERED,) * 3 + (SENT,), SENT),
    ],
)
def test_a_message_is_delivered_when_all_of_its_parts_are(statuses, expected):
    assert {whole(*order) for order in permutations(statuses)} == {expected}


def test_what_is_said_twice_of_one_part_is_no_second_part():
    receipts = [said("P1", DELIVERED), said("P1", DELIVERED)]

    assert whole_of(receipts, parts=2).status == SENT


@given(
    receipts=st.lists(
        st.builds(
            said,
            st.sampled_from("ABC"),
            st.sampled_from([None, SENT, DELIVERED, FAILED, BOUNCED]),
        ),
        max_size=8,
    ),
    data=st.data(),
)
def test_the_order_makes_no_difference(receipts, data):
    shuffled = data.draw(st.permutations(receipts))

    assert whole_of(shuffled, parts=3) == whole_of(receipts, parts=3)
