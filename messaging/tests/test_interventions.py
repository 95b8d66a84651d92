"""What operators and callers can do with one message: cancel it, or send it again."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from messaging.factories import MessageFactory
from messaging.message_actions import InterventionRefused, cancel_message, retry_message
from messaging.models import Campaign
from messaging.queue.completion import close_campaigns
from messaging.queue.look_ups import NOT_FOUND
from messaging.tests.scenario import PATIENCE, accepted, claim, running, write
from messaging.vocabulary import CampaignStatus
from routing.factories import AttemptFactory
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
OVER = {"finished_at": NOW - HOUR, "attempt_count": 1}

pytestmark = pytest.mark.django_db


def unknown_attempt(message):
    return MessageDeliveryAttempt.objects.create(
        message=message,
        attempt_number=1,
        channel=Channel.SMS,
        provider="TwilioSMS",
        attempted_at=NOW,
        outcome=AttemptOutcome.UNKNOWN,
    )


def receipt_for(message, **fields):
    fields = {"event_id": "1", "provider_status": "undelivered"} | fields
    return DeliveryReceipt.objects.create(
        message=message,
        attempt_number=1,
        provider="TwilioSMS",
        received_at=NOW,
        raw="",
        **fields,
    )


def test_a_message_that_was_cleared_away_meanwhile_is_not_retried():
    message = MessageFactory(status=MessageStatus.FAILED, **OVER)
    type(message).objects.all().delete()

    with pytest.raises(InterventionRefused, match="has been deleted"):
        retry_message(message, now=NOW)


def test_a_message_that_waits_is_cancelled():
    message = MessageFactory()

    cancel_message(message, now=NOW)

    assert message.status == MessageStatus.CANCELLED
    assert (message.status_reason, message.finished_at) == (
        "The message was cancelled.",
        NOW,
    )


def test_a_message_that_is_being_sent_is_not_cancelled(route):
    message = MessageFactory()
    claim(now=NOW)

    with pytest.raises(InterventionRefused, match="being sent"):
        cancel_message(message, now=NOW)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (MessageStatus.SENT, "is sent: there is nothing to cancel"),
        (MessageStatus.DELIVERED, "is delivered"),
        (MessageStatus.CANCELLED, "is cancelled"),
    ],
)
def test_a_message_that_has_left_is_not_cancelled(status, says):
    message = MessageFactory(status=status)

    with pytest.raises(InterventionRefused, match=says):
        cancel_message(message, now=NOW)

    message.refresh_from_db()
    assert message.status == status


@pytest.mark.parametrize(
    "status",
    [
        MessageStatus.FAILED,
        MessageStatus.BOUNCED,
        MessageStatus.CANCELLED,
        MessageStatus.SUPPRESSED,
        MessageStatus.EXPIRED,
    ],
)
def test_a_message_that_was_certainly_not_got_is_sent_again(route, status):
    message = MessageFactory(status=status, retry_count=3, sent_at=NOW, **OVER)

    retry_message(message, now=NOW)

    assert (message.status, message.due_at) == (MessageStatus.QUEUED, NOW)
    assert (message.retry_count, message.finished_at, message.sent_at) == (
        0,
        None,
        None,
    )
    [claimed] = claim(now=NOW)
    write(accepted(claimed), now=NOW)
    assert list(message.attempts.values_list("attempt_number", flat=True)) == [2]


@pytest.mark.parametrize(
    "status",
    [MessageStatus.QUEUED, MessageStatus.SENT, MessageStatus.DELIVERED],
)
def test_a_message_that_is_under_way_or_has_arrived_is_not_retried(status):
    message = MessageFactory(status=status)

    with pytest.raises(InterventionRefused, match="Only messages that failed"):
        retry_message(message, now=NOW)


def test_a_person_may_take_a_message_out_of_quarantine():
    message = MessageFactory(status=MessageStatus.FAILED, quarantined_at=NOW)

    retry_message(message, now=NOW)

    assert (message.status, message.quarantined_at) == (MessageStatus.QUEUED, None)


def test_a_message_is_not_retried_while_nobody_knows_whether_it_was_sent():
    message = MessageFactory(status=MessageStatus.FAILED, unknown_since=NOW, **OVER)
    unknown_attempt(message)

    with pytest.raises(InterventionRefused, match="might get it twice"):
        retry_message(message, now=NOW)

    message.refresh_from_db()
    assert message.status == MessageStatus.FAILED


def test_an_earlier_attempt_that_nobody_knows_of_forbids_a_retry_too():
    message = MessageFactory(status=MessageStatus.CANCELLED, **OVER)
    unknown_attempt(message)

    with pytest.raises(InterventionRefused, match="might get it twice"):
        retry_message(message, now=NOW)


@pytest.mark.parametrize(
    "news",
    [{"status": MessageStatus.FAILED}, {"event_id": f"1.1:{NOT_FOUND}"}],
    ids=["a receipt", "a look-up"],
)
def test_certainty_that_it_was_not_sent_allows_a_retry(news):
    message = MessageFactory(status=MessageStatus.FAILED, **OVER)
    unknown_attempt(message)
    receipt_for(message, **news)

    retry_message(message, now=NOW)

    assert message.status == MessageStatus.QUEUED


@pytest.mark.parametrize("says", [MessageStatus.SENT, MessageStatus.DELIVERED])
def test_what_went_out_after_all_is_not_retried(says):
    """The look-up came too early and found nothing; then the fallback failed."""
    message = MessageFactory(status=MessageStatus.FAILED, **OVER)
    unknown_attempt(message)
    receipt_for(message, event_id=f"1.1:{NOT_FOUND}")
    receipt_for(message, event_id="2", status=says)

    with pytest.raises(InterventionRefused, match="might get it twice"):
        retry_message(message, now=NOW)


def test_an_acceptance_that_came_late_forbids_a_retry():
    message = MessageFactory(status=MessageStatus.FAILED, **OVER)
    unknown_attempt(message)
    receipt_for(message, event_id=f"1.1:{NOT_FOUND}")
    AttemptFactory(message=message, is_late=True)

    with pytest.raises(InterventionRefused, match="might get it twice"):
        retry_message(message, now=NOW)


def test_an_expired_message_needs_a_new_time_to_be_retried():
    message = MessageFactory(status=MessageStatus.EXPIRED, expires_at=NOW - HOUR)

    with pytest.raises(InterventionRefused, match="Give `expiresAt`"):
        retry_message(message, now=NOW)
    retry_message(message, now=NOW, expires_at=NOW + HOUR)

    assert message.status == MessageStatus.QUEUED
    assert message.expires_at == NOW + HOUR


def test_the_campaign_of_a_retried_message_goes_on():
    message = MessageFactory(status=MessageStatus.FAILED, **OVER)
    Campaign.objects.update(status=CampaignStatus.COMPLETED, completed_at=NOW)

    retry_message(message, now=NOW)
    close_campaigns(now=NOW)

    campaign = Campaign.objects.get()
    assert (campaign.status, campaign.completed_at) == (CampaignStatus.RUNNING, None)


@pytest.mark.django_db(transaction=True)
def test_a_campaign_is_not_completed_while_its_message_is_queued_again(needs_a_server):
    message = MessageFactory(status=MessageStatus.FAILED, **OVER)
    is_queued, is_swept = threading.Event(), threading.Event()

    def retry():
        with transaction.atomic():
            retry_message(message, now=NOW)
            is_queued.set()
            assert is_swept.wait(PATIENCE)

    with running(retry):
        assert is_queued.wait(PATIENCE)
        close_campaigns(now=NOW)
        is_swept.set()

    assert Campaign.objects.get().status == CampaignStatus.RUNNING


def test_a_message_of_a_cancelled_campaign_is_not_retried():
    message = MessageFactory(status=MessageStatus.FAILED, **OVER)
    Campaign.objects.update(status=CampaignStatus.CANCELLED)

    with pytest.raises(InterventionRefused, match="campaign was cancelled"):
        retry_message(message, now=NOW)

    message.refresh_from_db()
    assert message.status == MessageStatus.FAILED
