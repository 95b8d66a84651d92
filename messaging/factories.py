"""Rows for tests and benchmarks, each valid by itself."""

from __future__ import annotations

from datetime import UTC, datetime

import factory

from messaging.models import Campaign, CampaignMessage
from messaging.vocabulary import CampaignStatus
from routing.vocabulary import Channel

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class CampaignFactory(factory.django.DjangoModelFactory):
    """A running SMS campaign."""

    class Meta:
        model = Campaign

    name = factory.Sequence(lambda number: f"Campaign {number}")
    channel = Channel.SMS
    body = "Hello"
    status = CampaignStatus.RUNNING


class MessageFactory(factory.django.DjangoModelFactory):
    """A queued message that is due."""

    class Meta:
        model = CampaignMessage

    campaign = factory.SubFactory(CampaignFactory)
    channel = factory.SelfAttribute("campaign.channel")
    recipient = factory.Sequence(lambda number: f"+1415{5550000 + number}")
    due_at = LONG_AGO
