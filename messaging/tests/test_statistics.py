"""Statistics: counted as things happen, and the same when rebuilt."""

from __future__ import annotations

from decimal import Decimal

import pytest

from messaging.campaigns import cancel_campaigns
from messaging.models import Campaign
from messaging.tests.scenario import NOW, accepted, claim, failed, write
from messaging.tests.tallies import (
    DAY,
    differences,
    enqueue,
    receive,
    statuses,
    total,
)
from routing.money import Money
from routing.providers.base import (
    ProviderError,
)
from routing.rules.decide import Decision, FallBack, Retry
from routing.rules.tally import Tally
from routing.statistics.entries import read_totals
from routing.vocabulary import (
    AttemptOutcome,
    FallbackReason,
    MessageStatus,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_message_counts_as_queued_then_as_sent_then_as_what_became_of_it(route):
    enqueue()
    assert statuses() == {MessageStatus.QUEUED: 1}

    (claimed,) = claim()
    write(accepted(claimed))
    assert statuses() == {MessageStatus.QUEUED: 1, MessageStatus.SENT: 1}

    receive(claimed.message_id, MessageStatus.DELIVERED)
    assert statuses()[MessageStatus.DELIVERED] == 1
    assert total().delivery_rate == 1


def test_an_end_that_was_wrong_is_taken_back_on_its_own_day(route):
    enqueue()
    (claimed,) = claim()
    write(accepted(claimed))
    receive(claimed.message_id, MessageStatus.FAILED)
    assert total(NOW.date()).messages(MessageStatus.FAILED) == 1

    receive(claimed.message_id, MessageStatus.DELIVERED, at=NOW + DAY)

    assert total(NOW.date()).messages(MessageStatus.FAILED) == 0
    tomorrow = total((NOW + DAY).date())
    assert tomorrow.messages(MessageStatus.DELIVERED) == 1
    assert tomorrow.messages(MessageStatus.SENT) == 0


def test_a_delivery_counts_for_the_provider_that_got_through(route):
    enqueue()
    (claimed,) = claim()
    to_vonage = Decision("VonageSMS", FallbackReason.PRIMARY_FAILED, {})
    write(failed(claimed, ProviderError(), FallBack(to_vonage)))

    receive(claimed.message_id, MessageStatus.DELIVERED)

    delivered = {
        key.provider
        for key, tally in read_totals().tallies()
        if tally.messages(MessageStatus.DELIVERED)
    }
    assert delivered == {"TwilioSMS"}


def test_recording_twice_counts_once(route):
    enqueue()
    (claimed,) = claim()
    result = accepted(claimed)
    write(result)

    write(result)

    assert total().attempts == 1
    assert statuses()[MessageStatus.SENT] == 1


def test_attempts_count_by_outcome_and_by_why_they_were_made(route):
    enqueue()
    (first,) = claim()
    to_vonage = Decision("VonageSMS", FallbackReason.PRIMARY_FAILED, {})
    (second,) = write(failed(first, ProviderError(), FallBack(to_vonage)))
    write(failed(second, ProviderError(), Retry(NOW, counts_as_retry=True)))
    (third,) = claim()
    write(accepted(third))

    tally = total()
    assert tally.attempts == 3
    assert tally.outcome(AttemptOutcome.REJECTED) == 2
    assert tally.fallbacks(FallbackReason.PRIMARY_FAILED) == 1
    assert tally.retries == 1


def test_the_cost_that_a_receipt_tells_takes_the_place_of_the_estimate(route):
    enqueue()
    (claimed,) = claim()
    write(accepted(claimed, cost=Money(Decimal("0.01"), "USD")))

    receive(
        claimed.message_id, None, cost=Decimal("0.0075"), currency="USD", at=NOW + DAY
    )

    assert total(NOW.date()).spending()["USD"].total == Decimal("0.0075")
    assert total((NOW + DAY).date()) == Tally()


def test_a_cancelled_campaign_counts_what_it_withdrew(route):
    enqueue(3)

    cancel_campaigns(Campaign.objects.all(), now=NOW)

    assert statuses()[MessageStatus.CANCELLED] == 3
    assert differences() == []
