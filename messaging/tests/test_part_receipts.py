"""A long SMS whose provider sends a receipt for each part."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from marketing_platform.provider_settings import simulated_providers
from messaging.models import CampaignMessage
from messaging.tests.conftest import MEMORY_PROVIDERS
from messaging.tests.scenario import (
    NOW,
    accepted,
    claim,
    failed,
    messages,
    unfinished,
    write,
)
from messaging.tests.tallies import differences, enqueue, receive
from routing.factories import AttemptFactory, RouteFactory, retry_rule
from routing.models import DeliveryQuality
from routing.providers.base import Acceptance, PartlyTaken
from routing.providers.error_codes import error_class_of
from routing.providers.vonage_sms import RECEIPT_CODES
from routing.rules.decide import GiveUp
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.django_db
QUEUED, SENT = MessageStatus.QUEUED, MessageStatus.SENT
DELIVERED = MessageStatus.DELIVERED
FAILED, BOUNCED = MessageStatus.FAILED, MessageStatus.BOUNCED


@pytest.fixture(autouse=True)
def vonage(db, settings):
    retry_rule(900, 3600)
    settings.MESSAGE_PROVIDERS = simulated_providers(9100, public_url="http://x")


def long_message(*, segments=3, status=SENT, **fields):
    """A message that Vonage has accepted."""
    enqueue(segments=segments)
    message = CampaignMessage.objects.latest("pk")
    CampaignMessage.objects.filter(pk=message.pk).update(
        status=status, provider="VonageSMS", attempt_count=1, sent_at=NOW, **fields
    )
    AttemptFactory(message=message, provider="VonageSMS", attempted_at=NOW)
    return message


def tell_parts(message, *statuses, at=NOW):
    """Receive Vonage's receipts for parts, each with its own id."""
    for part, status in statuses:
        receive(
            message.pk,
            status,
            at=at,
            provider="VonageSMS",
            external_message_id=part,
            error_code="3" if status in {FAILED, BOUNCED} else "",
        )


def status_of(message):
    message.refresh_from_db()
    return message.status


ENDS = [
    ((DELIVERED, DELIVERED, DELIVERED), DELIVERED),
    ((DELIVERED, DELIVERED, FAILED), FAILED),
    ((DELIVERED, DELIVERED, BOUNCED), BOUNCED),
    ((DELIVERED, FAILED, BOUNCED), BOUNCED),
    ((FAILED, FAILED, FAILED), FAILED),
    ((DELIVERED, DELIVERED, SENT), SENT),
    ((DELIVERED, DELIVERED), SENT),
    ((DELIVERED,), SENT),
]


@pytest.mark.parametrize(("statuses", "end"), ENDS)
@pytest.mark.parametrize("segments", [3, 2, 1])  # also where we counted too few
def test_its_end_is_that_of_all_parts_in_any_order(statuses, end, segments):
    if segments < 3 and len(statuses) < 3:
        return
    ends = set()
    for order in permutations(enumerate(statuses)):
        message = long_message(segments=segments)
        tell_parts(message, *((f"P{n}", status) for n, status in order))
        ends.add(status_of(message))

    assert ends == {end}
    assert not unfinished().exists() or end == SENT


def test_the_reason_is_that_of_the_part_that_was_lost():
    message = long_message()

    tell_parts(message, ("P1", BOUNCED), ("P2", DELIVERED), ("P3", DELIVERED))

    message.refresh_from_db()
    assert message.status_reason.startswith("VonageSMS 3")


def test_a_part_that_comes_after_all_makes_it_whole():
    message = long_message(segments=2)

    tell_parts(message, ("P1", FAILED), ("P2", DELIVERED), ("P1", DELIVERED))

    assert status_of(message) == DELIVERED


def test_parts_that_come_to_hosts_with_different_clocks_are_all_counted():
    message = long_message(segments=2)

    tell_parts(message, ("P1", DELIVERED))
    tell_parts(message, ("P2", DELIVERED), at=NOW - timedelta(minutes=10))

    assert status_of(message) == DELIVERED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", list(permutations([DELIVERED, DELIVERED, BOUNCED])))
def test_it_counts_once_and_the_numbers_add_up(order):
    message = long_message()
    before = differences()

    tell_parts(message, *zip(["P1", "P2", "P3"], order, strict=True))

    assert differences() == before
    row = DeliveryQuality.objects.filter(country="").first()
    assert row is None or row.successes + row.failures == 1


def test_a_provider_with_one_receipt_for_all_parts_is_taken_at_its_word():
    message = long_message()
    CampaignMessage.objects.update(provider="TwilioSMS")

    receive(message.pk, DELIVERED, provider="TwilioSMS")

    assert status_of(message) == DELIVERED


def test_the_providers_number_of_parts_counts(settings):
    settings.MESSAGE_PROVIDERS = MEMORY_PROVIDERS
    RouteFactory()
    (message,) = messages(1)
    (claimed,) = claim()
    result = accepted(claimed)
    acceptance = Acceptance("P1", segments=2, parts=2)

    write(
        result._replace(send_result=result.send_result._replace(acceptance=acceptance))
    )

    message.refresh_from_db()
    assert message.segments == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("counted", [1, 2, 3])
@pytest.mark.parametrize("faster", [0, 1, 2])
@pytest.mark.parametrize(
    "ends", [(DELIVERED, DELIVERED), (DELIVERED, BOUNCED), (DELIVERED, SENT)]
)
def test_the_provider_may_tell_its_number_of_parts_after_their_receipts(
    counted, faster, ends
):
    RouteFactory(primary_provider="VonageSMS", fallback_provider="TwilioSMS")
    enqueue(segments=counted, due_at=NOW - timedelta(minutes=1))
    (message,) = CampaignMessage.objects.all()
    before = differences()
    (claimed,) = claim()
    result = accepted(claimed, external_id="P1")
    told = Acceptance("P1", segments=2, parts=2)
    parts = list(zip(["P1", "P2"], ends, strict=True))

    tell_parts(message, *parts[:faster])
    write(result._replace(send_result=result.send_result._replace(acceptance=told)))
    tell_parts(message, *parts[faster:])

    assert status_of(message) == ends[1]
    assert differences() == before


def test_a_message_that_was_taken_in_part_has_failed_and_stays_so():
    RouteFactory(primary_provider="VonageSMS", fallback_provider="TwilioSMS")
    (message,) = messages(1)
    CampaignMessage.objects.update(segments=3)
    (claimed,) = claim()

    write(failed(claimed, PartlyTaken("Vonage took 2 of 3 parts"), GiveUp()))
    tell_parts(message, ("P1", DELIVERED), ("P2", DELIVERED))

    message.refresh_from_db()
    assert message.status == FAILED
    assert "2 of 3 parts" in message.status_reason


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("codes", "is_retried"),
    [
        (("2", "2"), True),  # subscriber absent
        (("2", None), False),  # a part has arrived
        ((None, "2"), False),
        (("2", "3"), False),  # of the other part: no such subscriber
    ],
)
@pytest.mark.parametrize("counted", [1, 2])
def test_a_long_message_is_retried_only_when_all_its_parts_are_lost(
    codes, is_retried, counted
):
    message = long_message(segments=counted)
    before = differences()

    for part, code in enumerate(codes):
        tell_part(message, f"P{part}", code)

    expected = QUEUED if is_retried else FAILED
    assert status_of(message) == expected
    assert differences() == before


def tell_part(message, part, code):
    """Vonage's receipt for a part: an error code, or delivered."""
    receive(
        message.pk,
        FAILED if code else DELIVERED,
        provider="VonageSMS",
        external_message_id=part,
        error_code=code or "",
        error_class=error_class_of(RECEIPT_CODES, code or ""),
    )


@pytest.mark.django_db(transaction=True)
def test_a_part_that_arrives_after_all_calls_off_the_retry():
    message = long_message(segments=2)
    before = differences()
    tell_part(message, "P1", "2")
    tell_part(message, "P2", "2")
    assert status_of(message) == QUEUED

    tell_part(message, "P2", None)

    assert status_of(message) == FAILED
    assert differences() == before
