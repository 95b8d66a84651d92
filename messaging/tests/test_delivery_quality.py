"""Delivery rates: from receipts to the choice of a provider."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from messaging.factories import MessageFactory
from messaging.models import CampaignMessage
from messaging.queue.receipts import record_receipts
from messaging.queue.sweep import count_overdue_receipts
from messaging.tests.scenario import NOW, claim, messages, running, until_one_waits
from routing.health.delivery_rates import QualityBook
from routing.models import DeliveryQuality
from routing.providers.base import Receipt
from routing.reference import reference_for
from routing.vocabulary import (
    Channel,
    ErrorClass,
    FallbackReason,
    MessageStatus,
    RoutingStrategy,
)

pytestmark = pytest.mark.django_db


def receipt(message, status, *, number=1, provider="TwilioSMS", **fields):
    return Receipt(
        event_id=f"{message.pk}-{number}-{status}-{fields}",
        reference=reference_for(message.pk, number, provider=provider),
        external_message_id="SM1",
        status=status,
        provider_status="said",
        **fields,
    )


def say(*receipts, provider="TwilioSMS", now=NOW):
    record_receipts(provider_name=provider, receipts=receipts, raw="", now=now)


def evidence(provider, *, delivered, failed, country=""):
    DeliveryQuality.objects.create(
        provider=provider,
        channel=Channel.SMS,
        country=country,
        successes=delivered,
        failures=failed,
        updated_at=NOW,
    )


def counts(**where):
    row = DeliveryQuality.objects.get(**where)
    return row.successes, row.failures


def test_verdicts_count_for_the_country_and_for_the_provider():
    one, two = MessageFactory(country="DE"), MessageFactory(country="FR")

    say(receipt(one, MessageStatus.DELIVERED), receipt(two, MessageStatus.BOUNCED))

    assert counts(country="") == (1.0, 1.0)
    assert counts(country="DE") == (1.0, 0.0)
    assert counts(country="FR") == (0.0, 1.0)


def test_an_attempt_is_counted_once_whatever_comes_later():
    message = MessageFactory()

    say(receipt(message, MessageStatus.DELIVERED))
    say(receipt(message, MessageStatus.DELIVERED))
    say(receipt(message, MessageStatus.BOUNCED))

    assert counts() == (1.0, 0.0)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (MessageStatus.SENT, {}),
        (None, {}),
        (MessageStatus.FAILED, {"error_class": ErrorClass.RECIPIENT}),
        (MessageStatus.BOUNCED, {"error_class": ErrorClass.MESSAGE}),
    ],
)
def test_what_says_nothing_of_the_provider_is_not_counted(status, fields):
    say(receipt(MessageFactory(), status, **fields))

    assert not DeliveryQuality.objects.exists()


def test_evidence_fades():
    message = MessageFactory()
    say(receipt(message, MessageStatus.DELIVERED))
    other = MessageFactory()

    say(receipt(other, MessageStatus.DELIVERED), now=NOW + timedelta(minutes=30))

    assert counts() == (pytest.approx(1.5), 0.0)


def test_a_country_of_which_little_is_known_is_drawn_towards_the_provider():
    evidence("TwilioSMS", delivered=900, failed=100)
    evidence("TwilioSMS", delivered=0, failed=1, country="DE")

    score = QualityBook().score("TwilioSMS", Channel.SMS, "DE", now=NOW)

    assert 0.8 < score.mean < 0.9
    assert score.evidence == pytest.approx(1.0)


def test_without_receipts_nothing_is_known():
    assert QualityBook().score("TwilioSMS", Channel.SMS, "", now=NOW) is None


def test_highest_reliability_sends_by_the_provider_that_delivers_best(route):
    route.routing_strategy = RoutingStrategy.HIGHEST_RELIABILITY
    route.save()
    evidence("TwilioSMS", delivered=80, failed=20)
    evidence("VonageSMS", delivered=99, failed=1)
    messages(20)

    claimed = claim()

    chosen = [each.decision.provider for each in claimed]
    assert chosen.count("VonageSMS") >= 17  # a few explore
    assert {each.decision.fallback_reason for each in claimed} == {None}
    scores = [each["score"] for each in claimed[0].decision.record["candidates"]]
    assert scores[0] < scores[1]


def test_too_little_evidence_moves_no_traffic(route):
    route.routing_strategy = RoutingStrategy.HIGHEST_RELIABILITY
    route.save()
    evidence("TwilioSMS", delivered=1, failed=5)
    evidence("VonageSMS", delivered=6, failed=0)
    messages(20)

    chosen = [each.decision.provider for each in claim()]

    assert chosen.count("TwilioSMS") >= 17


def test_a_provider_below_the_minimum_quality_is_passed_over_and_says_why(route):
    route.minimum_quality = 0.9
    route.save()
    evidence("TwilioSMS", delivered=50, failed=50)
    messages(1)

    (claimed,) = claim()

    assert claimed.decision.provider == "VonageSMS"
    assert claimed.decision.fallback_reason == FallbackReason.QUALITY_THRESHOLD
    verdict = claimed.decision.record["candidates"][0]["verdict"]
    assert verdict.startswith("it delivers")


def test_evidence_from_the_future_of_another_clock_is_taken_as_it_is():
    evidence("TwilioSMS", delivered=100, failed=0)

    score = QualityBook().score(
        "TwilioSMS", Channel.SMS, "", now=datetime(2020, 1, 1, tzinfo=UTC)
    )

    assert score.mean > 0.9


def sent_ago(count, minutes, *, provider="TwilioSMS", **fields):
    """Messages accepted this many minutes ago, without a receipt since."""
    messages(
        count,
        provider=provider,
        status=MessageStatus.SENT,
        sent_at=NOW - timedelta(minutes=minutes),
        **fields,
    )


def score_of(provider="TwilioSMS", *, country="", now=NOW):
    found = QualityBook().score(provider, Channel.SMS, country, now=now)
    return found and round(found.mean, 2)


def test_overdue_receipts_count_as_the_failures_that_they_probably_are():
    evidence("TwilioSMS", delivered=388, failed=12)
    before = score_of()
    sent_ago(100, 5)

    count_overdue_receipts(now=NOW)

    assert (before, score_of()) == (0.97, 0.81)


def test_a_receipt_that_comes_in_the_end_clears_its_provider():
    evidence("TwilioSMS", delivered=388, failed=12)
    sent_ago(100, 5)
    count_overdue_receipts(now=NOW)

    CampaignMessage.objects.update(status=MessageStatus.DELIVERED)
    count_overdue_receipts(now=NOW + timedelta(seconds=15))

    assert score_of() == 0.97


@pytest.mark.parametrize("minutes", [0, 61])
def test_what_is_just_sent_or_long_gone_is_not_overdue(minutes):
    evidence("TwilioSMS", delivered=388, failed=12)
    sent_ago(100, minutes)

    count_overdue_receipts(now=NOW)

    assert DeliveryQuality.objects.get().overdue == []


def test_silence_counts_for_its_country_and_for_the_provider():
    evidence("TwilioSMS", delivered=388, failed=12)
    evidence("TwilioSMS", delivered=388, failed=12, country="DE")
    evidence("TwilioSMS", delivered=388, failed=12, country="FR")
    sent_ago(100, 5, country="DE")

    count_overdue_receipts(now=NOW)

    assert score_of(country="DE") == score_of() == 0.81
    assert score_of(country="FR") == 0.97


def test_a_provider_that_never_sent_a_receipt_is_not_judged_by_silence():
    sent_ago(100, 5)

    count_overdue_receipts(now=NOW)

    assert score_of() is None


def test_of_all_workers_one_counts_silence_at_a_time():
    evidence("TwilioSMS", delivered=1, failed=0)
    sent_ago(1, 5)

    count_overdue_receipts(now=NOW)
    DeliveryQuality.objects.update(overdue=[])
    count_overdue_receipts(now=NOW + timedelta(seconds=14))

    assert DeliveryQuality.objects.get().overdue == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("needs_a_server")
def test_counting_silence_waits_for_a_receipt_and_not_the_receipt_for_it():
    for country in ("US", ""):  # as they lie in the table
        evidence("TwilioSMS", delivered=1, failed=0, country=country)
    rows = DeliveryQuality.objects.select_for_update(nowait=True)

    with ExitStack() as counting, transaction.atomic():
        rows.get(country="")
        counting.enter_context(running(lambda: count_overdue_receipts(now=NOW)))
        until_one_waits()
        rows.get(country="US")
