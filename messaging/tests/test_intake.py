"""Messages that are taken in, many at once."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from messaging.factories import CampaignFactory, MessageFactory
from messaging.intake import take_in, take_in_audience
from messaging.models import CampaignMessage

pytestmark = pytest.mark.django_db


def taken_in_by(take, **fields):
    """A message as it was stored, without what is its own."""
    take([MessageFactory.build(campaign=CampaignFactory(), **fields)])
    stored = CampaignMessage.objects.values().latest("id")
    return {
        name: value
        for name, value in stored.items()
        if name not in {"id", "campaign_id", "created_at", "recipient"}
    }


@pytest.mark.parametrize("body", ["", 'tab\tline\nquote" back\\slash \\N ’ 🎈'])
def test_an_audience_is_stored_as_single_messages_are(body):
    alone = taken_in_by(take_in, body=body)

    assert taken_in_by(take_in_audience, body=body) == alone


def test_an_audience_is_stored_whole_or_not_at_all():
    campaign = CampaignFactory()
    twice = [MessageFactory.build(campaign=campaign, recipient="+1") for _ in "12"]

    with pytest.raises(IntegrityError):
        take_in_audience(twice)

    assert not campaign.messages.exists()
