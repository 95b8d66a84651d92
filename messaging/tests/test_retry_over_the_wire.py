"""Handsets that are off, from the provider's call to the last receipt."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import connection
from django.utils import timezone

from marketing_platform.testing.installation import wait_until
from messaging.models import CampaignMessage
from messaging.tests.tallies import differences, drain, enqueue
from routing.factories import RouteFactory, retry_rule
from routing.models import DeliveryQuality, MessageDeliveryAttempt
from routing.simulators.handset import read_handset_log
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.long,
    pytest.mark.skipif(
        connection.vendor == "sqlite",
        reason="an in-memory SQLite database has one thread",
    ),
]
COUNT = 40


@pytest.mark.parametrize(
    ("first", "then"), [("TwilioSMS", "VonageSMS"), ("VonageSMS", "TwilioSMS")]
)
def test_a_handset_that_was_off_gets_its_message_once_when_it_is_on(
    live_server, simulator, simulator_process, first, then
):
    RouteFactory(primary_provider=first, fallback_provider=then, max_retries=0)
    retry_rule(1, 1, 1, 2, 4, 8)
    simulator.configure(off_share=0.5, off_seconds=1.5, duplicate_receipt_share=0.3)
    enqueue(COUNT, due_at=timezone.now())

    wait_until(everything_is_delivered)

    arrived = Counter(
        entry.message.recipient
        for entry in read_handset_log(simulator_process.handset_log)
        if entry.event == "handset"
    )
    messages = CampaignMessage.objects.all()
    assert Counter(messages.values_list("recipient", flat=True)) == arrived
    assert messages.filter(attempt_count__gt=1).count() > COUNT / 5
    assert not messages.exclude(double_risk_at=None).exists()
    assert not messages.exclude(retry_count=0).exists()
    assert not DeliveryQuality.objects.filter(failures__gt=0).exists()
    assert differences() == []


def everything_is_delivered():
    """Send what is due, and apply the receipts that have come."""
    drain()
    return not CampaignMessage.objects.exclude(status=MessageStatus.DELIVERED).exists()


def test_greylisting_is_over_at_the_next_try(live_server, simulator):
    RouteFactory(
        channel=Channel.EMAIL,
        primary_provider="SMTPEmail",
        fallback_provider="SendGridEmail",
        max_retries=0,
    )
    retry_rule(1, 2, 4, error_class=ErrorClass.GREYLISTED)
    text = "4.7.1 Greylisting in action, please come back later"
    simulator.set_fault(
        "SMTPEmail", "error", code="451", message=text, stage="RCPT", count=1
    )
    enqueue(
        1, channel=Channel.EMAIL, recipient="ada@example.com", due_at=timezone.now()
    )

    wait_until(lambda: drain() or CampaignMessage.objects.get().sent_at)

    first, second = MessageDeliveryAttempt.objects.order_by("attempt_number")
    assert first.error_class == ErrorClass.GREYLISTED
    assert (second.provider, second.outcome) == ("SMTPEmail", AttemptOutcome.ACCEPTED)
