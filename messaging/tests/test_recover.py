"""Messages whose worker died, whose verdict did not come, or whose campaign ended."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from messaging.factories import CampaignFactory
from messaging.models import Campaign, CampaignMessage
from messaging.queue.completion import close_campaigns
from messaging.queue.receipts import record_receipts
from messaging.queue.recover import (
    recover_attempts,
    recover_expired_leases,
)
from messaging.tests.scenario import (
    LEASE,
    MINUTE,
    NOW,
    accepted,
    claim,
    failed,
    messages,
    statements_of,
    write,
)
from messaging.timeline import timeline_of
from messaging.transitions import NO_VERDICT
from messaging.vocabulary import CampaignStatus
from routing.decision.planner import RoutingTable
from routing.models import MessageDeliveryAttempt
from routing.providers.base import OutcomeUnknown, Receipt
from routing.rules.decide import Retry
from routing.vocabulary import AttemptOutcome, MessageStatus, UnknownOutcomePolicy

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def recover(now):
    return recover_expired_leases(
        routes=RoutingTable(), verdict_wait=HOUR, now=now, rng=Random(0)
    )


def message():
    return CampaignMessage.objects.get()


def test_a_lease_that_runs_is_left_alone(route):
    messages(1)
    claim()

    assert recover(NOW + LEASE - timedelta(seconds=1)) == 0
    assert MessageDeliveryAttempt.objects.count() == 0


def test_a_lost_worker_leaves_an_unknown_attempt_by_the_provider_on_the_row(route):
    messages(1)
    claim()

    assert recover(NOW + LEASE) == 1

    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.outcome == AttemptOutcome.UNKNOWN
    assert (attempt.provider, attempt.attempt_number) == ("TwilioSMS", 1)


def test_a_message_of_a_lost_worker_waits_for_its_verdict_and_is_never_resent(route):
    messages(1)
    claim()

    recover(NOW + LEASE)

    assert message().status == MessageStatus.SENDING
    assert message().unknown_since == NOW + LEASE
    assert claim(now=NOW + LEASE + MINUTE) == []


def test_a_route_that_resends_sends_again_after_its_delay(route):
    route.unknown_outcome_policy = UnknownOutcomePolicy.RESEND
    route.save()
    messages(1)
    claim()

    recover(NOW + LEASE)

    assert message().status == MessageStatus.QUEUED
    assert message().retry_count == 1
    assert message().due_at == NOW + LEASE + 2 * MINUTE  # exponential, first round


def test_a_route_that_resends_gives_up_after_its_last_round(route):
    route.unknown_outcome_policy = UnknownOutcomePolicy.RESEND
    route.max_retries = 0
    route.save()
    messages(1)
    claim()

    recover(NOW + LEASE)

    assert message().status == MessageStatus.FAILED


def test_without_a_verdict_by_the_deadline_a_message_fails_and_says_why(route):
    messages(1)
    claim()
    recover(NOW + LEASE)

    recover(NOW + LEASE + HOUR)

    assert message().status == MessageStatus.FAILED
    assert message().status_reason == NO_VERDICT
    assert message().is_outcome_unknown
    assert MessageDeliveryAttempt.objects.count() == 1


def test_a_message_waits_for_its_verdict_also_when_its_route_is_gone(route):
    messages(1)
    claim()
    route.delete()

    recover(NOW + LEASE)

    assert message().is_outcome_unknown


def test_the_lane_of_single_messages_is_never_completed(route):
    lane = CampaignFactory(is_standing=True)

    close_campaigns(now=NOW)

    lane.refresh_from_db()
    assert lane.status == CampaignStatus.RUNNING


def test_a_campaign_with_nothing_left_to_send_is_completed(route):
    messages(1)
    write(accepted(claim()[0]))

    close_campaigns(now=NOW)

    campaign = Campaign.objects.get()
    assert campaign.status == CampaignStatus.COMPLETED
    assert campaign.completed_at == NOW


@pytest.mark.parametrize("status", [MessageStatus.QUEUED, MessageStatus.SENDING])
def test_a_campaign_with_an_open_message_is_not_completed(route, status):
    messages(1)
    if status == MessageStatus.SENDING:
        claim()

    close_campaigns(now=NOW)

    assert Campaign.objects.get().status == CampaignStatus.RUNNING


def test_a_retry_of_a_cancelled_campaign_is_cancelled_too(route):
    messages(1)
    Campaign.objects.update(status=CampaignStatus.CANCELLED, completed_at=NOW)

    close_campaigns(now=NOW + MINUTE)

    assert message().status == MessageStatus.CANCELLED


def test_a_cancelled_campaign_without_a_message_left_costs_one_look(route):
    messages(3, status=MessageStatus.DELIVERED)
    Campaign.objects.update(status=CampaignStatus.CANCELLED, completed_at=NOW)

    statements = statements_of(lambda: close_campaigns(now=NOW))

    assert [sql.split()[1].split(".")[0] for sql, _ in statements] == [
        '"messaging_campaign"',  # those that are finished
        '"messaging_campaign"',  # and those cancelled with something left
    ]


def test_an_attempt_that_only_a_receipt_knows_of_is_put_on_record(route):
    messages(1)
    (claimed,) = claim()
    receipt_for(claimed, at=NOW)

    count = recover_attempts(since=NOW - MINUTE, until=NOW + MINUTE)

    attempt = MessageDeliveryAttempt.objects.get()
    assert count == 1
    assert attempt.outcome == AttemptOutcome.ACCEPTED
    assert (attempt.provider, attempt.attempt_number) == ("TwilioSMS", 1)
    assert attempt.external_message_id == "SM1"
    assert message().status == MessageStatus.DELIVERED


def test_an_attempt_that_is_on_record_is_not_recovered(route):
    messages(1)
    (claimed,) = claim()
    receipt_for(claimed, at=NOW)
    write(accepted(claimed))

    assert recover_attempts(since=NOW - MINUTE, until=NOW + MINUTE) == 0


def test_an_attempt_in_flight_that_earlier_news_overtakes_is_put_on_record(route):
    """Its worker died. The first attempt was unknown, and its route resends."""
    route.unknown_outcome_policy = UnknownOutcomePolicy.RESEND
    route.save()
    messages(1)
    (first,) = claim()
    write(failed(first, OutcomeUnknown(), Retry(NOW, counts_as_retry=True)))
    (second,) = claim(owner=2)
    receipt_for(first, at=NOW)
    assert message().status == MessageStatus.DELIVERED

    window = {"since": NOW - MINUTE, "until": NOW + MINUTE}
    assert recover_attempts(**window) == 1
    assert recover_attempts(**window) == 0

    latest = MessageDeliveryAttempt.objects.get(attempt_number=second.attempt_number)
    assert latest.outcome == AttemptOutcome.UNKNOWN


def test_an_attempt_that_was_never_made_is_not_put_on_record(route):
    messages(1)
    (claimed,) = claim()
    write(accepted(claimed))
    receipt_for(claimed.fallen_back(claimed.decision, NOW + LEASE), at=NOW)

    assert recover_attempts(since=NOW - MINUTE, until=NOW + MINUTE) == 0
    facts = [entry.facts for entry in timeline_of(message())]
    assert ["for attempt 2, which was never made"] in facts


def test_a_receipt_of_a_living_workers_message_is_left_to_it(route):
    messages(1)
    (claimed,) = claim()
    receipt_for(claimed, at=NOW)

    assert recover_attempts(since=NOW - MINUTE, until=NOW - SECOND) == 0


def test_an_attempt_that_a_receipt_says_little_of_is_left_to_its_lease(route):
    messages(1)
    (claimed,) = claim()
    receipt = Receipt("1", claimed.content.reference, "SM1", None, "processed")
    record_receipts(provider_name="TwilioSMS", receipts=[receipt], raw="", now=NOW)

    assert recover_attempts(since=NOW - MINUTE, until=NOW + LEASE) == 0
    assert recover(NOW + LEASE) == 1
    assert MessageDeliveryAttempt.objects.get().outcome == AttemptOutcome.UNKNOWN


def receipt_for(claimed, *, at):
    """The provider says that it delivered, twice."""
    for event in ("sent", "delivered"):
        receipt = Receipt(
            event_id=event,
            reference=claimed.content.reference,
            external_message_id="SM1",
            status=MessageStatus.DELIVERED,
            provider_status=event,
        )
        record_receipts(provider_name="TwilioSMS", receipts=[receipt], raw="", now=at)
