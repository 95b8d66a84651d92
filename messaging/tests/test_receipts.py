"""What a receipt changes on its message: a table of states, and any order at all."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, product

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign, Suppression
from messaging.queue.receipts import record_receipts
from messaging.tests.scenario import (
    NOW,
    accepted,
    claim,
    failed,
    messages,
    running,
    until_one_waits,
    write,
)
from messaging.vocabulary import CampaignStatus, SuppressionReason, SuppressionScope
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.providers.base import OutcomeUnknown, ProviderError, Receipt
from routing.reference import reference_for
from routing.rules.decide import AwaitVerdict, Decision, FallBack, Retry
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ErrorClass,
    FallbackReason,
    MessageStatus,
)

pytestmark = [pytest.mark.django_db, pytest.mark.long]
QUEUED, SENDING, SENT, DELIVERED, FAILED, BOUNCED, CANCELLED, SUPPRESSED, EXPIRED = (
    MessageStatus
)
LATEST, EARLIER, LATER = 2, 1, 3  # attempts; the message has made two
event_numbers = count(1)

# About the latest attempt: what each receipt makes of each status. What is not in here
# stays as it is.
MOVES = {
    (QUEUED, DELIVERED): DELIVERED,  # the pending retry is called off
    (QUEUED, BOUNCED): BOUNCED,
    (SENDING, SENT): SENT,
    (SENDING, DELIVERED): DELIVERED,
    (SENDING, FAILED): FAILED,
    (SENDING, BOUNCED): BOUNCED,
    (SENT, DELIVERED): DELIVERED,
    (SENT, FAILED): FAILED,
    (SENT, BOUNCED): BOUNCED,
    (FAILED, DELIVERED): DELIVERED,  # given up too early
    (FAILED, BOUNCED): BOUNCED,
    (BOUNCED, DELIVERED): DELIVERED,  # of an SMS in parts, some arrived
    (CANCELLED, DELIVERED): DELIVERED,  # cancelled, but an attempt had got through
    (SUPPRESSED, DELIVERED): DELIVERED,
    (EXPIRED, DELIVERED): DELIVERED,
}
EMAIL_MOVES = {
    key: new for key, new in MOVES.items() if key != (BOUNCED, DELIVERED)
} | {
    (DELIVERED, BOUNCED): BOUNCED,  # it was taken, and came back
}
# About an earlier one: proof counts, bad news does not.
MOVES_BY_EARLIER = {
    (status, DELIVERED): DELIVERED for status in MessageStatus if status != DELIVERED
}
# Given up with an unknown outcome: any receipt is better than none.
UNSETTLED_MOVES = {SENT: SENT, DELIVERED: DELIVERED, FAILED: FAILED, BOUNCED: BOUNCED}
VERDICTS = [SENT, DELIVERED, FAILED, BOUNCED, None]


def labels(value):
    if value is None:
        return "no verdict"
    return value.label if isinstance(value, MessageStatus) else None


EVERY_MOVE = list(product(MessageStatus, VERDICTS))


def message(status, *, channel=Channel.SMS, **fields):
    """A message in this status, after two attempts."""
    campaign = CampaignFactory(channel=channel)
    if status == SENDING:
        fields = {"lease_expires_at": NOW + timedelta(minutes=1)} | fields
    return MessageFactory(campaign=campaign, status=status, attempt_count=2, **fields)


def receipt(about, status, *, attempt=LATEST, **fields):
    """A provider's word about an attempt, an event of its own by default."""
    values = {
        "event_id": f"event-{next(event_numbers)}",
        "reference": reference_for(about.pk, attempt, provider="TwilioSMS"),
        "external_message_id": "SM1",
        "status": status,
        "provider_status": "as the provider puts it",
    }
    return Receipt(**(values | fields))


def receive(*receipts, now=NOW):
    """The receipts arrive."""
    return record_receipts(
        provider_name="TwilioSMS", receipts=receipts, raw="raw", now=now
    )


def status_after(about, *receipts):
    receive(*receipts)
    about.refresh_from_db()
    return about.status


def moved(*, attempt=LATEST, channel=Channel.SMS):
    """What each receipt makes of each status, where it changes."""
    return {
        (status, verdict): new
        for status, verdict in EVERY_MOVE
        for about in [message(status, channel=channel)]
        for new in [status_after(about, receipt(about, verdict, attempt=attempt))]
        if new != status
    }


def test_a_receipt_of_the_latest_attempt_moves_a_message_forward():
    assert moved() == MOVES


def test_a_receipt_of_the_latest_attempt_moves_an_email_forward():
    assert moved(channel=Channel.EMAIL) == EMAIL_MOVES


def test_of_an_earlier_attempt_only_a_delivery_is_news():
    assert moved(attempt=EARLIER) == MOVES_BY_EARLIER


def test_an_attempt_that_was_never_made_is_no_news():
    assert moved(attempt=LATER) == {}


# What two attempts with these outcomes leave open, when a third one waits for its time:
# about the first, a receipt moves it to these; about the second, likewise.
PENDING_MOVES = [
    ("UNKNOWN", "REJECTED", EARLIER, {SENT: SENT, BOUNCED: BOUNCED}),
    ("UNKNOWN", "UNKNOWN", EARLIER, {SENT: SENT}),
    ("UNKNOWN", "UNKNOWN", LATEST, {SENT: SENT, BOUNCED: BOUNCED}),
    ("REJECTED", "UNKNOWN", EARLIER, {}),
    ("ACCEPTED", "REJECTED", EARLIER, {}),
    ("UNKNOWN", "REJECTED", LATEST, {BOUNCED: BOUNCED}),
]


def on_record(about, *outcomes):
    """Record these outcomes of the message's attempts."""
    for number, outcome in enumerate(outcomes, start=1):
        MessageDeliveryAttempt.objects.create(
            message=about,
            attempt_number=number,
            channel=about.channel,
            provider="TwilioSMS",
            attempted_at=NOW,
            outcome=AttemptOutcome[outcome],
        )
    return about


@pytest.mark.parametrize(("first", "second", "attempt", "moves"), PENDING_MOVES)
@pytest.mark.parametrize("verdict", VERDICTS, ids=labels)
def test_that_an_attempt_of_unknown_outcome_was_sent_calls_off_a_pending_retry(
    first, second, attempt, moves, verdict
):
    about = on_record(message(QUEUED), first, second)

    new = status_after(about, receipt(about, verdict, attempt=attempt))

    assert new == (moves | {DELIVERED: DELIVERED}).get(verdict, QUEUED)


@pytest.mark.parametrize("bad", [FAILED, BOUNCED], ids=labels)
def test_the_verdict_on_the_attempt_that_called_off_a_retry_comes_later(bad):
    about = on_record(message(QUEUED), "UNKNOWN", "REJECTED")

    assert status_after(about, receipt(about, SENT, attempt=EARLIER)) == SENT
    assert status_after(about, receipt(about, bad, attempt=EARLIER)) == bad


def test_what_is_with_a_provider_again_is_not_called_off_by_an_earlier_acceptance():
    about = on_record(message(SENDING, lease_owner=1), "UNKNOWN")

    assert status_after(about, receipt(about, SENT, attempt=EARLIER)) == SENDING


AT_ONCE = FallBack(Decision("VonageSMS", FallbackReason.PRIMARY_FAILED, {}))


@pytest.mark.parametrize("step", [Retry(NOW, counts_as_retry=True), AT_ONCE], ids=type)
@pytest.mark.parametrize("news", [(SENT,), (SENT, FAILED), ()], ids=len)
def test_what_was_told_while_another_try_was_made_counts_when_that_has_failed(
    route, step, news
):
    (about,) = messages(1)
    write(failed(claim()[0], OutcomeUnknown(), Retry(NOW, counts_as_retry=True)))
    (again,) = claim()
    receive(*(receipt(about, each, attempt=1) for each in news))

    fallbacks = write(failed(again, ProviderError("refused"), step))

    about.refresh_from_db()
    is_sent = news == (SENT,)
    assert (about.status == SENT) == is_sent
    assert (about.sent_at is not None) == is_sent
    assert len(fallbacks) == (step == AT_ONCE and not is_sent)
    assert ("refused" in about.status_reason) != is_sent


@pytest.mark.parametrize("verdict", VERDICTS, ids=labels)
def test_a_message_given_up_without_a_verdict_takes_a_late_one(verdict):
    about = message(FAILED, unknown_since=NOW, finished_at=NOW)

    new = status_after(about, receipt(about, verdict))

    assert new == UNSETTLED_MOVES.get(verdict, FAILED)
    assert about.is_outcome_unknown == (verdict is None)
    assert (about.finished_at is None) == (verdict == SENT)


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    channel=st.sampled_from([Channel.SMS, Channel.EMAIL]),
    start=st.sampled_from([QUEUED, SENDING, SENT, FAILED]),
    is_unknown=st.booleans(),
    outcomes=st.lists(st.sampled_from(["UNKNOWN", "REJECTED"]), max_size=2),
    attempt=st.sampled_from([EARLIER, LATEST]),
)
def test_receipts_of_an_attempt_end_the_same_in_any_order_however_often_they_come(
    data, channel, start, is_unknown, outcomes, attempt
):
    verdicts = data.draw(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=5))
    order = data.draw(st.permutations(range(len(verdicts))))
    again = data.draw(st.lists(st.sampled_from(order)))
    unknown_since = NOW if is_unknown else None
    one, other = (
        on_record(
            message(start, channel=channel, unknown_since=unknown_since), *outcomes
        )
        for _ in range(2)
    )
    arrived = [receipt(one, verdict, attempt=attempt) for verdict in verdicts]
    retold = [receipt(other, verdict, attempt=attempt) for verdict in verdicts]

    end = status_after(one, *arrived)

    assert status_after(other, *(retold[i] for i in [*order, *again])) == end


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        (NOW - timedelta(hours=1), NOW - timedelta(hours=1)),
        (NOW + timedelta(hours=1), NOW),
        (datetime(1, 1, 1, tzinfo=UTC), NOW),
        (datetime(9999, 12, 31, tzinfo=UTC), NOW),
    ],
)
def test_a_time_that_cannot_be_is_not_believed(said, believed):
    about = message(SENT)

    status_after(about, receipt(about, DELIVERED, occurred_at=said))

    assert about.finished_at == believed
    assert DeliveryReceipt.objects.get().occurred_at == said


def test_a_receipt_that_comes_twice_is_stored_once_and_counts_once():
    about = message(SENT)
    same = receipt(about, DELIVERED)

    assert receive(same, same) == 1
    assert receive(same, now=NOW + timedelta(hours=1)) == 0

    about.refresh_from_db()
    assert about.finished_at == NOW
    assert DeliveryReceipt.objects.count() == 1


def test_a_delivery_ends_a_verdict_that_was_waited_for():
    about = message(SENDING, unknown_since=NOW)

    status_after(about, receipt(about, DELIVERED))

    assert about.lease_expires_at is None
    assert not about.is_outcome_unknown


def test_the_time_of_an_event_is_the_providers_where_it_gives_one():
    happened_at = NOW - timedelta(minutes=1)
    sent, delivered = message(SENDING), message(SENT)

    receive(receipt(sent, SENT, occurred_at=happened_at), receipt(delivered, DELIVERED))

    sent.refresh_from_db()
    delivered.refresh_from_db()
    assert (sent.sent_at, sent.finished_at) == (happened_at, None)
    assert delivered.finished_at == NOW


def test_bad_news_says_why_and_good_news_takes_the_reason_back():
    about = message(SENT)

    receive(receipt(about, FAILED, error_code="30003", error_message="Handset is off"))
    about.refresh_from_db()
    assert about.status_reason == "TwilioSMS 30003: Handset is off"

    receive(receipt(about, DELIVERED))
    about.refresh_from_db()
    assert about.status_reason == ""


def test_bad_news_without_words_says_what_kind_of_error_it_is():
    about = message(SENT)

    receive(
        receipt(about, FAILED, error_code="30005", error_class=ErrorClass.RECIPIENT)
    )

    about.refresh_from_db()
    assert about.status_reason == "TwilioSMS 30005: recipient error"


def test_a_receipt_may_come_before_the_attempt_is_recorded(route):
    (about,) = messages(1)
    (claimed,) = claim()

    receive(receipt(about, DELIVERED, attempt=1))
    write(accepted(claimed))

    about.refresh_from_db()
    assert about.status == DELIVERED
    assert about.sent_at == NOW
    assert about.lease_owner is None
    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.outcome == AttemptOutcome.ACCEPTED


def test_an_early_receipt_outlives_an_answer_that_nobody_understood(route):
    (about,) = messages(1)
    (claimed,) = claim()

    receive(receipt(about, DELIVERED, attempt=1))
    write(failed(claimed, OutcomeUnknown(), AwaitVerdict(NOW + timedelta(hours=1))))

    about.refresh_from_db()
    assert about.status == DELIVERED
    assert about.lease_expires_at is None


@pytest.mark.parametrize("news", [SENT, DELIVERED], ids=labels)
def test_late_good_news_calls_off_the_retry_at_another_provider(route, news):
    (about,) = messages(1)
    (claimed,) = claim()
    write(failed(claimed, OutcomeUnknown(), Retry(NOW, counts_as_retry=True)))

    receive(receipt(about, news, attempt=1))

    assert claim(now=NOW + timedelta(hours=1)) == []
    about.refresh_from_db()
    assert about.status == news


def test_a_delivery_by_the_first_provider_stands_whatever_the_second_answers(route):
    (about,) = messages(1)
    (claimed,) = claim()
    write(failed(claimed, OutcomeUnknown(), Retry(NOW, counts_as_retry=True)))
    (again,) = claim()

    receive(receipt(about, DELIVERED, attempt=1))
    write(accepted(again))

    about.refresh_from_db()
    assert about.status == DELIVERED


def cost_on_record():
    attempt = MessageDeliveryAttempt.objects.get()
    return (attempt.cost, attempt.currency)


def test_the_cost_that_a_receipt_tells_takes_the_place_of_the_estimate(route):
    (about,) = messages(1)
    write(accepted(claim()[0]))

    receive(
        receipt(about, DELIVERED, attempt=1, cost=Decimal("0.0333"), currency="EUR")
    )

    assert cost_on_record() == (Decimal("0.0333"), "EUR")


def test_the_cost_that_an_early_receipt_tells_waits_for_its_attempt(route):
    (about,) = messages(1)
    (claimed,) = claim()

    receive(receipt(about, SENT, attempt=1, cost=Decimal("0.0333"), currency="EUR"))
    write(accepted(claimed))

    assert cost_on_record() == (Decimal("0.0333"), "EUR")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("needs_a_server")
def test_a_cost_that_is_told_while_the_attempt_is_written_counts_too(route):
    (about,) = messages(1)
    (claimed,) = claim()

    with ExitStack() as writing, transaction.atomic():
        receive(receipt(about, SENT, attempt=1, cost=Decimal("0.0333"), currency="EUR"))
        writing.enter_context(running(lambda: write(accepted(claimed))))
        until_one_waits()

    assert cost_on_record() == (Decimal("0.0333"), "EUR")


def test_a_receipt_without_a_cost_leaves_the_attempts_as_it_is(route):
    (about,) = messages(1)
    write(accepted(claim()[0]))
    MessageDeliveryAttempt.objects.update(cost=Decimal("0.01"), currency="USD")

    receive(receipt(about, DELIVERED, attempt=1))

    assert cost_on_record() == (Decimal("0.01"), "USD")


CAPPED = {
    "error_code": "30027",
    "error_class": ErrorClass.THROTTLED,
    "cap_zone": "America/Los_Angeles",
}
NEXT_DAY_THERE = datetime(2025, 6, 3, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [SENT, SENDING], ids=labels)
def test_a_carriers_daily_cap_puts_the_message_off_until_tomorrow(status):
    about = message(status)

    assert status_after(about, receipt(about, BOUNCED, **CAPPED)) == QUEUED
    assert about.due_at == NEXT_DAY_THERE
    assert about.status_reason.startswith("TwilioSMS 30027")
    assert about.retry_count == 0


def test_a_campaign_that_was_complete_goes_on_after_a_carriers_cap():
    about = message(SENT)
    Campaign.objects.update(status=CampaignStatus.COMPLETED, completed_at=NOW)

    receive(receipt(about, BOUNCED, **CAPPED))

    campaign = Campaign.objects.get()
    assert (campaign.status, campaign.completed_at) == (CampaignStatus.RUNNING, None)


def test_a_cancelled_campaign_stays_so_after_a_carriers_cap():
    about = message(SENT)
    Campaign.objects.update(status=CampaignStatus.CANCELLED, completed_at=NOW)

    receive(receipt(about, BOUNCED, **CAPPED))

    assert Campaign.objects.get().status == CampaignStatus.CANCELLED


@pytest.mark.parametrize("status", [DELIVERED, FAILED, CANCELLED], ids=labels)
def test_a_message_that_has_ended_is_not_sent_again_for_a_carriers_cap(status):
    about = message(status)

    assert status_after(about, receipt(about, BOUNCED, **CAPPED)) == status


def test_a_receipt_without_reference_finds_its_attempt_by_the_providers_id(route):
    (about,) = messages(1)
    write(accepted(claim()[0], external_id="SM99"))

    receive(receipt(about, DELIVERED, reference="", external_message_id="SM99"))

    about.refresh_from_db()
    assert about.status == DELIVERED
    assert DeliveryReceipt.objects.get().attempt_number == 1


def test_another_providers_id_is_not_taken_for_ours(route):
    (about,) = messages(1)
    write(accepted(claim()[0], external_id="SM99"))
    stray = receipt(about, DELIVERED, reference="", external_message_id="SM99")

    record_receipts(provider_name="VonageSMS", receipts=[stray], raw="", now=NOW)

    about.refresh_from_db()
    assert about.status == SENT
    assert DeliveryReceipt.objects.get().message is None


@pytest.mark.parametrize("reference", ["", "m999999a1", "somebody-elses"])
def test_a_receipt_of_no_message_of_ours_is_kept_all_the_same(reference):
    receive(receipt(message(SENT), DELIVERED, reference=reference))

    stored = DeliveryReceipt.objects.get()
    assert stored.message is None
    assert stored.raw == "raw"


@pytest.mark.parametrize("verdict", [FAILED, None], ids=labels)
def test_an_opt_out_suppresses_the_address(verdict):
    about = message(SENT)

    receive(receipt(about, verdict, opted_out=True))

    suppression = Suppression.objects.get()
    assert suppression.address == about.recipient
    assert suppression.reason == SuppressionReason.OPTED_OUT
    assert suppression.source == "TwilioSMS"


def test_a_complaint_suppresses_as_a_complaint():
    receive(receipt(message(DELIVERED), None, complained=True))

    assert Suppression.objects.get().reason == SuppressionReason.COMPLAINT


def test_an_address_that_is_suppressed_already_keeps_its_first_reason():
    about = message(SENT)
    Suppression.objects.create(
        address=about.recipient, reason=SuppressionReason.MANUAL, source="Ada"
    )

    receive(receipt(about, None, opted_out=True))

    assert Suppression.objects.get().source == "Ada"


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"complained": True}, SuppressionReason.COMPLAINT),
        (
            {"status": BOUNCED, "error_class": ErrorClass.RECIPIENT},
            SuppressionReason.HARD_BOUNCE,
        ),
    ],
)
def test_what_holds_back_all_replaces_an_opt_out_of_marketing(later, reason):
    about = message(SENT, channel=Channel.EMAIL, recipient="bob@bücher.example")
    receive(receipt(about, None, opted_out=True))
    assert Suppression.objects.get().scope == SuppressionScope.MARKETING

    receive(receipt(about, later.pop("status", None), **later))

    suppression = Suppression.objects.get()
    assert suppression.address == "bob@xn--bcher-kva.example"
    assert (suppression.reason, suppression.scope) == (reason, SuppressionScope.ALL)


def test_an_opt_out_about_an_old_attempt_suppresses_too():
    about = message(DELIVERED)

    assert status_after(about, receipt(about, FAILED, opted_out=True, attempt=1)) == (
        DELIVERED
    )
    assert Suppression.objects.count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"event_id": "e" * 201},
        {"external_message_id": "x" * 201},
        {"provider_status": "x" * 51},
        {"error_code": "x" * 101},
        {"error_message": "x" * 501},
        {"error_message": "550 \0 \ud800"},
        {"raw": "{\0"},
        {"cost": Decimal(10**9), "currency": "EUR"},
        {"cost": Decimal(1), "currency": "EURO"},
    ],
    ids=" and ".join,
)
def test_whatever_a_provider_writes_its_receipt_is_stored(fields):
    about = message(SENT)

    assert status_after(about, receipt(about, DELIVERED, **fields)) == DELIVERED
    assert DeliveryReceipt.objects.count() == 1


def test_two_events_with_long_names_stay_two():
    about = message(SENT)
    name = "e" * 300

    count = receive(
        receipt(about, SENT, event_id=f"{name}:sent"),
        receipt(about, DELIVERED, event_id=f"{name}:delivered"),
    )

    assert count == 2


@pytest.mark.parametrize(
    ("channel", "error_class", "is_suppressed"),
    [
        (Channel.EMAIL, ErrorClass.RECIPIENT, True),
        (Channel.EMAIL, ErrorClass.PROVIDER, False),  # a temporary refusal by a server
        (Channel.SMS, ErrorClass.RECIPIENT, False),  # a phone may come back
    ],
)
def test_a_mailbox_that_does_not_exist_is_suppressed(
    channel, error_class, is_suppressed
):
    about = message(SENT, channel=channel)

    receive(receipt(about, BOUNCED, error_class=error_class))

    reasons = list(Suppression.objects.values_list("reason", flat=True))
    assert reasons == ([SuppressionReason.HARD_BOUNCE] if is_suppressed else [])
