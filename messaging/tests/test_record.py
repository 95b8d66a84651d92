"""Recording the results of messages in flight, in bulk and fenced."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from django.db import transaction

from messaging.models import Campaign, CampaignMessage, Suppression
from messaging.queue.claimed import Result
from messaging.queue.recover import recover_expired_leases
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
from messaging.tests.tallies import receive
from messaging.vocabulary import CampaignStatus, SuppressionReason
from routing.decision.planner import RoutingTable
from routing.dispatch import SendResult
from routing.models import MessageDeliveryAttempt
from routing.money import Money
from routing.providers.base import (
    Acceptance,
    OutcomeUnknown,
    ProviderError,
    RecipientError,
)
from routing.rules.decide import (
    AwaitVerdict,
    Decision,
    FallBack,
    GiveUp,
    Retry,
    Sent,
)
from routing.vocabulary import (
    AttemptOutcome,
    ErrorClass,
    FallbackReason,
    MessageStatus,
    UnknownOutcomePolicy,
)

pytestmark = pytest.mark.django_db
TO_VONAGE = FallBack(
    Decision("VonageSMS", FallbackReason.PRIMARY_FAILED, {"chosen": "VonageSMS"})
)


@pytest.fixture
def claimed(route):
    """One claimed message."""
    messages(1)
    return claim()[0]


def message():
    return CampaignMessage.objects.get()


def test_an_accepted_message_is_sent_and_its_attempt_says_how(claimed):
    done = SendResult(
        provider="TwilioSMS",
        attempted_at=NOW,
        response_time_ms=120,
        acceptance=Acceptance("SM123"),
        cost=Money(Decimal("0.0079"), "USD"),
    )

    write(Result(claimed, done, Sent()))

    assert message().status == MessageStatus.SENT
    assert message().sent_at == NOW
    assert message().lease_owner is None
    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.message == message()
    assert attempt.attempt_number == 1
    assert attempt.provider == "TwilioSMS"
    assert attempt.attempted_at == NOW
    assert attempt.outcome == AttemptOutcome.ACCEPTED
    assert attempt.external_message_id == "SM123"
    assert (attempt.cost, attempt.currency) == (Decimal("0.0079"), "USD")
    assert attempt.response_time_ms == 120
    assert attempt.error_class is None
    assert attempt.decision["chosen"] == "TwilioSMS"
    assert attempt.is_late is False


def test_an_id_that_is_longer_than_any_is_cut(claimed):
    write(accepted(claimed, external_id="x" * 1000))

    assert message().status == MessageStatus.SENT
    assert MessageDeliveryAttempt.objects.get().external_message_id == "x" * 200


def test_a_retry_goes_back_to_the_queue_for_its_time_and_burns_a_round(claimed):
    due_at = NOW + MINUTE

    write(failed(claimed, ProviderError("busy", code="503"), Retry(due_at, True)))

    assert message().status == MessageStatus.QUEUED
    assert message().due_at == due_at
    assert message().retry_count == 1
    assert message().status_reason == "TwilioSMS 503: busy"
    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.outcome == AttemptOutcome.REJECTED
    assert attempt.error_class == ErrorClass.PROVIDER
    assert (attempt.error_code, attempt.error_message) == ("503", "busy")


def test_a_throttled_message_burns_no_round(claimed):
    write(failed(claimed, ProviderError(), Retry(NOW + MINUTE, False)))

    assert message().retry_count == 0


def test_a_fallback_stands_on_the_row_before_the_next_provider_is_called(claimed):
    (next_up,) = write(failed(claimed, ProviderError(), TO_VONAGE), now=NOW + MINUTE)

    assert message().status == MessageStatus.SENDING
    assert message().provider == "VonageSMS"
    assert message().attempt_count == 2
    assert message().lease_expires_at == NOW + MINUTE + LEASE
    assert next_up.attempt_number == 2
    assert next_up.content.reference.startswith(f"m{message().pk}a2.")
    assert next_up.tried == ("TwilioSMS",)


def test_the_fallback_attempt_keeps_its_reason(claimed):
    (next_up,) = write(failed(claimed, ProviderError(), TO_VONAGE))

    write(accepted(next_up))

    attempt = MessageDeliveryAttempt.objects.get(attempt_number=2)
    assert attempt.fallback_reason == FallbackReason.PRIMARY_FAILED
    assert message().status == MessageStatus.SENT


def test_an_unknown_outcome_waits_without_an_owner(claimed):
    deadline = NOW + timedelta(hours=1)

    write(failed(claimed, OutcomeUnknown(), AwaitVerdict(deadline)))

    assert message().status == MessageStatus.SENDING
    assert message().unknown_since == NOW
    assert message().lease_expires_at == deadline
    assert message().lease_owner is None
    assert MessageDeliveryAttempt.objects.get().outcome == AttemptOutcome.UNKNOWN


def test_a_message_that_was_given_up_says_why(claimed):
    write(failed(claimed, RecipientError("no such number", code="21211"), GiveUp()))

    assert message().status == MessageStatus.FAILED
    assert message().status_reason == "TwilioSMS 21211: no such number"
    assert message().finished_at == NOW


def test_an_opted_out_recipient_is_suppressed(claimed):
    write(failed(claimed, RecipientError(code="21610", opted_out=True), GiveUp()))

    assert Suppression.objects.get().address == claimed.content.recipient


def test_many_results_are_written_at_once(route):
    messages(50)

    write(*[accepted(each) for each in claim()])

    assert CampaignMessage.objects.filter(status=MessageStatus.SENT).count() == 50
    assert MessageDeliveryAttempt.objects.count() == 50


def test_a_worker_that_lost_its_lease_changes_nothing_but_leaves_evidence(claimed):
    lose_the_lease()
    before = message()

    fallbacks = write(failed(claimed, ProviderError("late"), TO_VONAGE))

    assert fallbacks == []
    assert message().status == before.status
    assert message().provider == before.provider
    on_time, late = MessageDeliveryAttempt.objects.order_by("is_late")
    assert (on_time.error_code, on_time.is_late) == ("lost_worker", False)
    assert (late.error_message, late.is_late) == ("late", True)


def test_a_late_acceptance_settles_a_message_that_waits_for_a_verdict(claimed):
    lose_the_lease()

    write(accepted(claimed))

    assert message().status == MessageStatus.SENT
    assert message().unknown_since is None
    assert MessageDeliveryAttempt.objects.filter(is_late=True).count() == 1


def test_a_late_acceptance_does_not_touch_a_message_that_went_on(claimed):
    lose_the_lease()
    CampaignMessage.objects.update(
        status=MessageStatus.QUEUED,
        unknown_since=None,
        lease_expires_at=None,
        due_at=NOW - MINUTE,
    )
    (again,) = claim(owner=2)

    write(accepted(claimed), owner=1)

    assert message().status == MessageStatus.SENDING
    assert message().lease_owner == 2
    assert again.attempt_number == 2


@pytest.fixture
def to_be_sent_again(claimed, route):
    """Its worker was lost, and its route resends: the next try waits for its time."""
    route.unknown_outcome_policy = UnknownOutcomePolicy.RESEND
    route.save()
    lose_the_lease()
    assert message().status == MessageStatus.QUEUED
    return claimed


def test_a_late_acceptance_calls_off_the_retry_that_waits(to_be_sent_again):
    write(accepted(to_be_sent_again))

    assert message().status == MessageStatus.SENT
    assert claim(owner=2, now=NOW + timedelta(days=1)) == []


def test_a_late_acceptance_and_a_failure_end_the_same_in_either_order(to_be_sent_again):
    """As when a receipt says that it was accepted."""
    pk = message().pk
    for steps in ("af", "fa"):
        with transaction.atomic():
            for step in steps:
                if step == "a":
                    write(accepted(to_be_sent_again))
                else:
                    receive(pk, MessageStatus.FAILED)
            assert message().status == MessageStatus.FAILED, steps
            transaction.set_rollback(True)


def test_two_results_of_one_message_are_refused_together(claimed):
    with pytest.raises(ValueError, match="Two results of one message"):
        write(accepted(claimed), accepted(claimed))

    assert message().status == MessageStatus.SENDING


def test_recording_twice_changes_nothing_the_second_time(claimed):
    result = accepted(claimed)
    write(result)

    write(result)

    assert message().status == MessageStatus.SENT
    assert MessageDeliveryAttempt.objects.count() == 1


def test_a_receipt_that_was_faster_keeps_its_status(claimed):
    CampaignMessage.objects.update(
        status=MessageStatus.DELIVERED, lease_expires_at=None
    )

    write(accepted(claimed))

    assert message().status == MessageStatus.DELIVERED
    assert MessageDeliveryAttempt.objects.get().outcome == AttemptOutcome.ACCEPTED


def test_a_delivered_message_does_not_fall_back_whatever_the_call_said(claimed):
    CampaignMessage.objects.update(
        status=MessageStatus.DELIVERED, lease_expires_at=None
    )

    assert write(failed(claimed, ProviderError(), TO_VONAGE)) == []
    assert message().status == MessageStatus.DELIVERED


def test_a_delivered_message_is_not_unknown_whatever_the_call_said(claimed):
    CampaignMessage.objects.update(
        status=MessageStatus.DELIVERED, lease_expires_at=None
    )

    write(failed(claimed, OutcomeUnknown(), AwaitVerdict(NOW + MINUTE)))

    assert message().status == MessageStatus.DELIVERED
    assert message().unknown_since is None


def test_a_delivered_message_keeps_the_attempt_and_provider_that_delivered_it(claimed):
    CampaignMessage.objects.update(
        status=MessageStatus.DELIVERED, lease_expires_at=None
    )

    write(failed(claimed, ProviderError(), TO_VONAGE))

    assert (message().attempt_count, message().provider) == (1, "TwilioSMS")


def test_a_failure_receipt_that_was_faster_keeps_its_status(claimed):
    CampaignMessage.objects.update(status=MessageStatus.FAILED, lease_expires_at=None)

    write(accepted(claimed))

    assert message().status == MessageStatus.FAILED


def test_a_late_acceptance_corrects_a_failure_for_want_of_a_verdict(
    claimed,
):
    lose_the_lease()
    recover_expired_leases(
        routes=RoutingTable(),
        verdict_wait=timedelta(hours=1),
        now=NOW + timedelta(hours=2),
        rng=None,
    )
    assert message().status == MessageStatus.FAILED

    write(accepted(claimed))

    assert message().status == MessageStatus.SENT
    assert message().finished_at is None
    assert message().unknown_since is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("nul \0 inside", "nul inside"),
        ("“quotes” \\ and '; --", "“quotes” \\ and '; --"),
        ("x" * 2000, "x" * 500),
    ],
)
def test_whatever_a_provider_says_is_written_safely(claimed, text, kept):
    write(failed(claimed, ProviderError(text, code=text), GiveUp()))

    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.error_message == kept
    assert message().status == MessageStatus.FAILED


def test_a_decision_is_written_without_what_no_database_stores(claimed):
    decision = replace(claimed.decision, record={"verdicts": ["nul \0 \\u0000"]})

    write(accepted(claimed._replace(decision=decision)))

    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.decision == {"verdicts": ["nul  \\u0000"]}


def lose_the_lease():
    """The lease runs out, and recovery writes an Unknown attempt."""
    recover_expired_leases(
        routes=RoutingTable(),
        verdict_wait=timedelta(hours=1),
        now=NOW + LEASE,
        rng=Random(0),
    )


def suppressed(claimed):
    Suppression.objects.create(
        address=claimed.content.recipient, reason=SuppressionReason.OPTED_OUT
    )


def cancelled(claimed):
    Campaign.objects.update(status=CampaignStatus.CANCELLED)


def paused(claimed):
    Campaign.objects.update(status=CampaignStatus.PAUSED)


def expired(claimed):
    Campaign.objects.update(expires_at=NOW)


@pytest.mark.parametrize(
    ("happens", "status", "reason"),
    [
        (suppressed, MessageStatus.SUPPRESSED, "The address is suppressed."),
        (cancelled, MessageStatus.CANCELLED, "The campaign was cancelled."),
        (expired, MessageStatus.EXPIRED, "The message expired while it waited."),
        (paused, MessageStatus.QUEUED, "The campaign is paused."),
    ],
)
def test_no_fallback_leaves_once_it_must_not(claimed, happens, status, reason):
    happens(claimed)

    fallbacks = write(failed(claimed, ProviderError(unavailable=True), TO_VONAGE))

    assert fallbacks == []
    assert (message().status, message().status_reason) == (status, reason)
    assert message().finished_at == (None if happens is paused else NOW)
    assert message().lease_owner is None
    assert MessageDeliveryAttempt.objects.count() == 1


def test_a_fallback_that_was_held_back_goes_on_when_its_campaign_does(claimed):
    paused(claimed)
    write(failed(claimed, ProviderError(unavailable=True), TO_VONAGE))

    assert claim() == []
    Campaign.objects.update(status=CampaignStatus.RUNNING)
    [again] = claim()

    assert (again.attempt_number, again.retry_count) == (2, 0)


def test_the_gate_costs_nothing_where_nothing_falls_back(claimed):
    statements = statements_of(lambda: write(accepted(claimed)))

    assert not [sql for sql, _ in statements if "messaging_suppression" in sql]
