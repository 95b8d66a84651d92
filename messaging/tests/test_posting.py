"""Single messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messaging.addresses import Address
from messaging.campaigns import CampaignError
from messaging.factories import CampaignFactory
from messaging.models import Campaign, CampaignMessage
from messaging.single_messages import SingleMessage, post_messages
from messaging.tests.scenario import claim, messages
from messaging.vocabulary import CampaignStatus
from routing.factories import RouteFactory
from routing.vocabulary import CampaignKind, Channel, MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN = Address("+14155550101", "US")

pytestmark = pytest.mark.django_db


def single(**fields):
    fields = {"channel": Channel.SMS, "address": ANN, "body": "Hello"} | fields
    return SingleMessage(**fields)


def post(*singles):
    return post_messages(singles, now=NOW)


def test_a_single_message_is_queued_and_due_at_once(route):
    [message] = post(single())

    message.refresh_from_db()
    assert (message.recipient, message.country) == ("+14155550101", "US")
    assert (message.status, message.due_at) == (MessageStatus.QUEUED, NOW)


def test_a_scheduled_message_waits_for_its_time(route):
    [message] = post(single(scheduled_at=NOW + HOUR, expires_at=NOW + 2 * HOUR))

    assert (message.due_at, message.expires_at) == (NOW + HOUR, NOW + 2 * HOUR)
    assert claim(now=NOW) == []


def test_one_recipient_may_get_many(route):
    post(single(), single())
    post(single())

    assert CampaignMessage.objects.filter(recipient=ANN.text).count() == 3


def test_the_lane_of_a_channel_and_kind_is_made_once(route):
    post(single(), single(kind=CampaignKind.TRANSACTIONAL))
    post(single())

    names = Campaign.objects.order_by("name").values_list("name", flat=True)
    assert list(names) == [
        "Single SMS messages, marketing",
        "Single SMS messages, transactional",
    ]


def test_a_transactional_message_goes_before_every_campaign(route):
    messages(3, campaign=CampaignFactory(priority=99))
    [urgent] = post(single(kind=CampaignKind.TRANSACTIONAL))

    assert [each.message_id for each in claim(limit=1, now=NOW)] == [urgent.pk]


def test_a_message_leaves_with_its_own_media(settings, db):
    settings.MESSAGE_PROVIDERS = {
        "TwilioMMS": {"BACKEND": "routing.providers.memory.MemoryMMS"}
    }
    RouteFactory(
        channel=Channel.MMS,
        primary_provider="TwilioMMS",
        fallback_provider="",
        enable_fallback=False,
    )
    post(single(channel=Channel.MMS, media_urls=["https://example.com/a.png"]))

    [claimed] = claim(now=NOW)
    assert claimed.content.media_urls == ("https://example.com/a.png",)


def test_without_a_route_nothing_is_queued(route):
    with pytest.raises(CampaignError, match="no active route for Email"):
        post(single(), single(channel=Channel.EMAIL, address=Address("a@example.com")))

    assert not CampaignMessage.objects.exists()


def test_messages_wait_while_an_operator_holds_their_lane_back(route):
    post(single())
    Campaign.objects.update(status=CampaignStatus.PAUSED)
    post(single())

    assert claim(now=NOW) == []
    assert CampaignMessage.objects.queued().count() == 2
