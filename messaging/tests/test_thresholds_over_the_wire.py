"""Cost and quality thresholds for real: prices imported, receipts recorded."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.utils import timezone

from messaging.factories import CampaignFactory
from messaging.models import Campaign
from messaging.queue.receipts import record_receipts
from messaging.queue.worker import Processor
from messaging.tests.scenario import messages
from messaging.vocabulary import CampaignStatus, WorkerKind
from routing.factories import RouteFactory
from routing.models import MessageDeliveryAttempt
from routing.providers.base import Receipt
from routing.reference import reference_for
from routing.vocabulary import ErrorClass, FallbackReason, MessageStatus


def drain():
    Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0)).run()


@pytest.mark.django_db
def test_a_provider_whose_imported_price_is_too_high_is_passed_over(
    simulator, tmp_path, settings
):
    RouteFactory(maximum_cost=Decimal("0.05"), currency="EUR")
    deck = "country,name,prefix,price_per_segment,currency\nUS,USA,1,{},EUR\n"
    for provider, price in [("TwilioSMS", "0.08"), ("VonageSMS", "0.03")]:
        path = tmp_path / f"{provider}.csv"
        path.write_text(deck.format(price))
        call_command(
            "import_rates", str(path), f"--provider={provider}", "--channel=sms"
        )
    messages(1, country="US")

    drain()

    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.provider == "VonageSMS"
    assert attempt.fallback_reason == FallbackReason.COST_THRESHOLD
    assert attempt.decision["candidates"][0]["price"] == "0.08"


@pytest.mark.django_db
def test_a_provider_whose_receipts_are_bad_is_passed_over(simulator):
    RouteFactory(minimum_quality=0.8)
    campaign = CampaignFactory()
    sent = messages(60, campaign=campaign)
    drain()
    for message in sent:
        not_delivered(message)

    Campaign.objects.update(status=CampaignStatus.RUNNING)  # it had completed
    messages(1, campaign=campaign)
    drain()

    last = MessageDeliveryAttempt.objects.order_by("pk").last()
    assert last.provider == "VonageSMS"
    assert last.fallback_reason == FallbackReason.QUALITY_THRESHOLD


def not_delivered(message):
    receipt = Receipt(
        event_id=f"{message.pk}",
        reference=reference_for(message.pk, 1, provider="TwilioSMS"),
        external_message_id="",
        status=MessageStatus.BOUNCED,
        provider_status="undelivered",
        error_class=ErrorClass.PROVIDER,
    )
    record_receipts(
        provider_name="TwilioSMS", receipts=[receipt], raw="", now=timezone.now()
    )
