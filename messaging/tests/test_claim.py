"""Which messages leave now, and through which provider first."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage, Suppression
from messaging.queue_status import Outages
from messaging.tests.scenario import LEASE, MINUTE, NOW, claim, claimer, messages
from messaging.vocabulary import CampaignStatus, SuppressionReason, SuppressionScope
from routing.factories import RateFactory
from routing.models import ChannelRoutingConfig
from routing.vocabulary import (
    CampaignKind,
    FallbackReason,
    MessageStatus,
    RoutingStrategy,
)


@pytest.mark.django_db
def test_a_claim_takes_no_more_than_its_limit(route):
    messages(7)

    assert len(claim(limit=5)) == 5
    assert CampaignMessage.objects.queued().count() == 2


@pytest.mark.django_db
def test_a_claimed_message_carries_owner_lease_attempt_and_provider(route):
    (message,) = messages(1)

    claim(owner=42)

    message.refresh_from_db()
    assert message.status == MessageStatus.SENDING
    assert message.lease_owner == 42
    assert message.lease_expires_at == NOW + LEASE
    assert message.attempt_count == 1
    assert message.provider == "TwilioSMS"


@pytest.mark.django_db
def test_a_claimed_message_is_not_claimed_again(route):
    messages(3)

    assert len(claim(owner=1)) == 3
    assert claim(owner=2) == []


@pytest.mark.django_db
def test_a_scheduled_message_stays_until_it_is_due(route):
    messages(1, due_at=NOW + MINUTE)

    assert claim(now=NOW) == []
    assert len(claim(now=NOW + MINUTE)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "status",
    [status for status in CampaignStatus if status != CampaignStatus.RUNNING],
)
def test_only_running_campaigns_send(route, status):
    messages(1, campaign=CampaignFactory(status=status))

    assert claim() == []


@pytest.mark.django_db
def test_the_longest_due_message_goes_first(route):
    campaign = CampaignFactory()
    messages(1, campaign=campaign, recipient="+14155550101", due_at=NOW - MINUTE)
    messages(1, campaign=campaign, recipient="+14155550102", due_at=NOW - 2 * MINUTE)

    (first,) = claim(limit=1)

    assert first.content.recipient == "+14155550102"


@pytest.mark.django_db
def test_a_more_urgent_campaign_goes_first_however_long_the_other_waited(route):
    messages(5, campaign=CampaignFactory(priority=1), due_at=NOW - 60 * MINUTE)
    urgent = CampaignFactory(priority=9)
    messages(3, campaign=urgent)

    claimed = claim(limit=4)

    ids = [each.message_id for each in claimed]
    assert CampaignMessage.objects.filter(campaign=urgent, pk__in=ids).count() == 3


@pytest.mark.django_db
def test_campaigns_of_one_priority_share_a_claim_fairly(route):
    big, small = CampaignFactory(), CampaignFactory()
    messages(20, campaign=big, due_at=NOW - 60 * MINUTE)
    messages(20, campaign=small)

    ids = [each.message_id for each in claim(limit=10)]

    claimed = CampaignMessage.objects.filter(pk__in=ids)
    assert claimed.filter(campaign=small).count() == 5
    assert claimed.filter(campaign=big).count() == 5


@pytest.mark.django_db
def test_what_one_campaign_leaves_of_its_share_goes_to_the_next_claim(route):
    messages(1, campaign=CampaignFactory())
    messages(9, campaign=CampaignFactory())

    assert len(claim(limit=10)) + len(claim(limit=10)) == 10


@pytest.mark.django_db
def test_every_campaign_gets_its_turn_when_a_claim_is_smaller_than_their_number(route):
    campaigns = [CampaignFactory() for _ in range(3)]
    for campaign in campaigns:
        messages(2, campaign=campaign)
    worker = claimer()

    for _ in campaigns:
        worker.claim(limit=1, now=NOW)

    sending = CampaignMessage.objects.filter(status=MessageStatus.SENDING)
    assert sending.values("campaign").distinct().count() == 3


@pytest.mark.django_db
def test_a_suppressed_address_gets_nothing_and_says_why(route):
    (message,) = messages(1)
    Suppression.objects.create(
        address=message.recipient, reason=SuppressionReason.OPTED_OUT
    )

    assert claim() == []
    message.refresh_from_db()
    assert message.status == MessageStatus.SUPPRESSED
    assert message.status_reason == "The address is suppressed."


@pytest.mark.django_db
@pytest.mark.parametrize("scope", SuppressionScope)
@pytest.mark.parametrize("kind", CampaignKind)
@pytest.mark.parametrize("recipient", ["+525512345678", "+5215512345678"])
def test_a_suppression_of_marketing_lets_what_is_waited_for_leave(
    route, recipient, kind, scope
):
    messages(1, campaign=CampaignFactory(kind=kind), recipient=recipient)
    Suppression.objects.create(
        address=recipient, reason=SuppressionReason.MANUAL, scope=scope
    )

    leaves = (kind, scope) == (CampaignKind.TRANSACTIONAL, SuppressionScope.MARKETING)
    assert len(claim()) == leaves


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["message", "campaign"])
def test_an_expired_message_is_not_sent_and_says_why(route, where):
    past = NOW - timedelta(seconds=1)
    campaign = CampaignFactory(expires_at=past if where == "campaign" else None)
    (message,) = messages(
        1, campaign=campaign, expires_at=past if where == "message" else None
    )

    assert claim() == []
    message.refresh_from_db()
    assert message.status == MessageStatus.EXPIRED
    assert message.finished_at == NOW


@pytest.mark.django_db
def test_without_a_route_a_message_waits_and_says_why(memory_providers):
    (message,) = messages(1)

    assert claim() == []
    message.refresh_from_db()
    assert message.status == MessageStatus.QUEUED
    assert message.status_reason == "There is no active route for SMS."
    assert message.due_at > NOW
    assert message.attempt_count == 0


@pytest.mark.django_db
def test_a_provider_without_credentials_is_passed_over_and_says_why(route, settings):
    settings.MESSAGE_PROVIDERS = settings.MESSAGE_PROVIDERS | {
        "TwilioSMS": {"BACKEND": "routing.providers.twilio.TwilioSMS", "OPTIONS": {}}
    }
    messages(1)

    (claimed,) = claim()

    assert claimed.decision.provider == "VonageSMS"
    assert claimed.decision.fallback_reason == FallbackReason.PROVIDER_UNAVAILABLE
    verdict = claimed.decision.record["candidates"][0]["verdict"]
    assert "TwilioSMS is not configured" in verdict


@pytest.mark.django_db
def test_a_message_waits_when_no_provider_of_its_route_is_there(route, settings):
    settings.MESSAGE_PROVIDERS = {}
    (message,) = messages(1)

    assert claim() == []
    message.refresh_from_db()
    assert message.status == MessageStatus.QUEUED
    assert "Unknown provider 'TwilioSMS'" in Outages(now=NOW).reason_for(message)


@pytest.mark.django_db
def test_a_change_of_the_route_counts_from_the_next_claim(route):
    messages(2)
    assert claim(limit=1)[0].decision.provider == "TwilioSMS"

    ChannelRoutingConfig.objects.update(
        primary_provider="VonageSMS", fallback_provider="TwilioSMS"
    )

    assert claim(limit=1)[0].decision.provider == "VonageSMS"


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_the_same_time_never_get_the_same_message(route):
    if connection.vendor != "postgresql":
        pytest.skip("an in-memory SQLite database has one connection")
    messages(200)
    barrier = threading.Barrier(8)
    claimed = []

    def work(owner):
        barrier.wait()
        while got := claim(limit=7, owner=owner):
            claimed.extend(each.message_id for each in got)
        connection.close()

    workers = [threading.Thread(target=work, args=(owner,)) for owner in range(1, 9)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(claimed) == len(set(claimed)) == 200


@pytest.mark.django_db
def test_each_message_of_a_claim_goes_where_its_own_number_is_cheapest(route):
    ChannelRoutingConfig.objects.update(routing_strategy=RoutingStrategy.LEAST_COST)
    for provider, prefix, price in [
        ("TwilioSMS", "1", "0.05"),
        ("VonageSMS", "1", "0.04"),
        ("TwilioSMS", "1415", "0.01"),
    ]:
        RateFactory(
            provider=provider,
            dial_prefix=prefix,
            country="US",
            price=Decimal(price),
            valid_from=NOW.date(),
        )
    campaign = CampaignFactory()
    for recipient in ("+12125550100", "+14155550100", "+12125550101"):
        messages(1, campaign=campaign, recipient=recipient, country="US")

    providers = [each.decision.provider for each in claim()]

    assert providers == ["VonageSMS", "TwilioSMS", "VonageSMS"]
