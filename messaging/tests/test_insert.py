"""Inserting many messages at once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError

from messaging.audience.insert import RecipientRow, enqueue, enqueue_audience
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def enqueue_alone(message):
    enqueue([message])


def enqueue_as_audience(*messages):
    """Queue them as an audience; shared columns are the first one's."""
    owns = [
        RecipientRow(**{name: getattr(message, name) for name in RecipientRow._fields})
        for message in messages
    ]
    enqueue_audience(messages[0], owns)


def stored_by(queue, **fields):
    """A stored message, without the columns of its own."""
    queue(MessageFactory.build(campaign=CampaignFactory(), **fields))
    stored = CampaignMessage.objects.values().latest("id")
    return {
        name: value
        for name, value in stored.items()
        if name not in {"id", "campaign_id", "created_at", "recipient"}
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"body": ""},
        {"body": 'tab\tline\nquote" back\\slash \\N \\. %s %(body)s 100 % ’ 🎈\r\n'},
        {"subject": "a\\b % c", "segments": 3, "country": "DE"},
        {"media_urls": ["https://example.com/100%25/\\a.jpg"]},
        {"expires_at": datetime(2030, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)},
    ],
)
def test_an_audience_is_stored_as_single_messages_are(fields):
    fields = {"due_at": NOON, **fields}
    alone = stored_by(enqueue_alone, **fields)

    assert stored_by(enqueue_as_audience, **fields) == alone


def test_each_of_an_audience_has_its_own():
    campaign = CampaignFactory()
    numbers = [f"+1415555{number:04}" for number in range(250)]
    enqueue_as_audience(
        *(
            MessageFactory.build(
                campaign=campaign, recipient=number, body=f"Hi {number}"
            )
            for number in numbers
        )
    )

    stored = campaign.messages.order_by("recipient").values_list("recipient", "body")
    assert [*stored] == [(number, f"Hi {number}") for number in numbers]


def test_an_audience_is_stored_whole_or_not_at_all():
    campaign = CampaignFactory()
    twice = [MessageFactory.build(campaign=campaign, recipient="+1") for _ in "12"]

    with pytest.raises(IntegrityError):
        enqueue_as_audience(*twice)

    assert not campaign.messages.exists()
