"""Messages that two attempts may have got through are marked, and no others."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from messaging.models import CampaignMessage
from messaging.queue.receipts import record_receipts
from messaging.queue.recover import recover_expired_leases
from messaging.tests.scenario import (
    LEASE,
    MINUTE,
    NOW,
    accepted,
    claim,
    failed,
    messages,
    write,
)
from messaging.timeline import timeline_of
from routing.decision.planner import RoutingTable
from routing.providers.base import ProviderError, Receipt
from routing.rules.decide import Decision, FallBack
from routing.vocabulary import FallbackReason, MessageStatus, UnknownOutcomePolicy

pytestmark = pytest.mark.django_db
event_numbers = count(1)
TO_VONAGE = FallBack(Decision("VonageSMS", FallbackReason.PRIMARY_FAILED, {}))


def receive(claimed, status, *, now=NOW):
    """Receive a receipt for an attempt."""
    receipt = Receipt(
        event_id=f"event-{next(event_numbers)}",
        reference=claimed.content.reference,
        external_message_id="",
        status=status,
        provider_status=status.label,
    )
    record_receipts(
        provider_name=claimed.decision.provider, receipts=[receipt], raw="", now=now
    )


@pytest.fixture
def fallen_back(route):
    """A message that Twilio certainly refused, and that Vonage is sending."""
    messages(1)
    (first,) = claim()
    (second,) = write(failed(first, ProviderError(), TO_VONAGE))
    return first, second


def is_double_risk():
    return CampaignMessage.objects.possible_duplicates().exists()


def test_a_fallback_that_is_delivered_is_no_double(fallen_back):
    _, second = fallen_back
    write(accepted(second))
    receive(second, MessageStatus.DELIVERED)

    assert not is_double_risk()


def test_a_delivery_by_the_first_after_the_second_accepted_is_a_double(fallen_back):
    first, second = fallen_back
    write(accepted(second))
    assert not is_double_risk()

    receive(first, MessageStatus.DELIVERED)

    assert is_double_risk()


def test_an_acceptance_by_the_second_after_the_first_delivered_is_a_double(fallen_back):
    first, second = fallen_back
    receive(first, MessageStatus.DELIVERED)
    assert not is_double_risk()

    write(accepted(second))

    assert is_double_risk()
    assert CampaignMessage.objects.get().status == MessageStatus.DELIVERED


def test_a_second_that_bounced_makes_no_double(fallen_back):
    first, second = fallen_back
    write(accepted(second))
    receive(second, MessageStatus.BOUNCED)

    receive(first, MessageStatus.DELIVERED)

    assert not is_double_risk()


def test_parts_of_one_attempt_are_no_double(route):
    messages(1)
    (only,) = claim()
    write(accepted(only))

    receive(only, MessageStatus.DELIVERED)
    receive(only, MessageStatus.DELIVERED)

    assert not is_double_risk()


def test_an_attempt_that_was_never_made_got_nothing_through(fallen_back):
    _, second = fallen_back
    write(accepted(second))
    third = second.fallen_back(second.decision, second.lease_expires_at)

    receive(third, MessageStatus.DELIVERED)

    assert not is_double_risk()


def test_a_lost_worker_that_comes_back_after_it_was_sent_again_is_a_double(route):
    route.unknown_outcome_policy = UnknownOutcomePolicy.RESEND
    route.save()
    messages(1)
    (slow,) = claim(owner=1)
    recover_expired_leases(
        routes=RoutingTable(), verdict_wait=MINUTE, now=NOW + LEASE, rng=Random(0)
    )
    (again,) = claim(owner=2, now=NOW + LEASE + 10 * MINUTE)
    write(accepted(again, external_id="SM2"), owner=2)

    write(accepted(slow), owner=1)

    assert is_double_risk()


def test_the_timeline_says_so(fallen_back):
    first, second = fallen_back
    write(accepted(second))
    receive(first, MessageStatus.DELIVERED, now=NOW + MINUTE)

    titles = [entry.title for entry in timeline_of(CampaignMessage.objects.get())]

    assert "Possible duplicate" in titles
