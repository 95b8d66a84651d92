"""A message's timeline has causes before their effects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messaging.factories import MessageFactory
from messaging.timeline import timeline_of
from routing.factories import AttemptFactory
from routing.models import DeliveryReceipt
from routing.vocabulary import AttemptOutcome, MessageStatus

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
SENT_AT = datetime(2026, 1, 5, 9, 0, 0, 700_000, tzinfo=UTC)
SAID_AT = SENT_AT.replace(microsecond=0)  # the provider's time, cut to the second


@pytest.fixture
def delivered():
    """Tried twice within a second, and delivered according to the provider's clock."""
    message = MessageFactory(
        status=MessageStatus.DELIVERED, attempt_count=2, finished_at=SAID_AT
    )
    message.created_at = SENT_AT - SECOND
    message.save()
    AttemptFactory(
        message=message, attempt_number=1, attempted_at=SENT_AT, provider="TwilioSMS"
    )
    AttemptFactory(
        message=message,
        attempt_number=2,
        attempted_at=SENT_AT + SECOND / 10,
        provider="VonageSMS",
    )
    return message


def receipt(message, number, status, at):
    DeliveryReceipt.objects.create(
        provider="VonageSMS",
        event_id=f"E{DeliveryReceipt.objects.count()}",
        message=message,
        attempt_number=number,
        status=status,
        provider_status=status.name.lower(),
        received_at=at,
        occurred_at=SAID_AT,
    )


def titles(message):
    return [each.title for each in timeline_of(message)]


def test_an_end_stands_below_the_attempt_and_the_receipt_that_it_follows_from(
    delivered,
):
    receipt(delivered, 2, MessageStatus.SENT, SAID_AT)
    receipt(delivered, 2, MessageStatus.DELIVERED, SENT_AT + SECOND)
    receipt(delivered, 2, MessageStatus.DELIVERED, SENT_AT + 60 * SECOND)

    assert titles(delivered) == [
        "Queued",
        "Attempt 1 by TwilioSMS: Accepted",
        "Attempt 2 by VonageSMS: Accepted",
        "VonageSMS says sent",
        "VonageSMS says delivered",
        "Delivered",
        "VonageSMS says delivered",
    ]


def test_a_receipt_stands_below_its_attempt_and_not_below_later_ones(delivered):
    receipt(delivered, 1, MessageStatus.SENT, SAID_AT)

    assert titles(delivered)[1:4] == [
        "Attempt 1 by TwilioSMS: Accepted",
        "VonageSMS says sent",
        "Attempt 2 by VonageSMS: Accepted",
    ]


def test_what_came_after_the_end_stays_below_it(delivered):
    AttemptFactory(
        message=delivered,
        attempt_number=2,
        is_late=True,
        attempted_at=SENT_AT + 60 * SECOND,
        outcome=AttemptOutcome.REJECTED,
    )

    assert titles(delivered)[-2:] == [
        "Delivered",
        "Attempt 2 by TwilioSMS: Rejected (late)",
    ]
