"""What may pass is tried again by the retry table, after an answer or a receipt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.factories import CampaignFactory, MessageFactory
from messaging.message_actions import retry_message
from messaging.models import (
    ERASED_RECIPIENT,
    Campaign,
    CampaignMessage,
    RetentionMark,
)
from messaging.queue.results import Results
from messaging.rules.retrying import with_time
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
from messaging.tests.tallies import differences, enqueue, receive, total
from messaging.timeline import timeline_of
from messaging.vocabulary import CampaignStatus
from routing.decision.planner import Planner
from routing.factories import AttemptFactory, retry_rule
from routing.models import DeliveryQuality, RetryRule
from routing.providers.base import HandsetOff, ProviderError
from routing.rules.decide import GiveUp, Retry
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DELAYS = (15 * MINUTE, HOUR, 12 * HOUR)
QUEUED, SENT, DELIVERED = (
    MessageStatus.QUEUED,
    MessageStatus.SENT,
    MessageStatus.DELIVERED,
)
FAILED, BOUNCED = MessageStatus.FAILED, MessageStatus.BOUNCED
OFF = {
    "error_code": "30003",
    "error_message": "Unreachable destination handset",
    "error_class": ErrorClass.HANDSET_OFF,
}
GONE = {"error_code": "30005", "error_class": ErrorClass.RECIPIENT}


@pytest.fixture(autouse=True)
def table(db):
    """The rule that is shipped for handsets, and no other."""
    RetryRule.objects.all().delete()
    retry_rule(*(int(each.total_seconds()) for each in DELAYS))


def sent(**fields):
    """A message that Twilio has accepted."""
    enqueue(**fields)
    return with_provider(CampaignMessage.objects.latest("pk"))


def with_provider(message, *, at=NOW):
    """The message after its claim, and after Twilio has accepted it."""
    write(*(accepted(each, at=at) for each in claim(now=at)), now=at)
    message.refresh_from_db()
    return message


def report(message, status, *, at=NOW, **fields):
    """Twilio's receipt about the latest attempt, or another."""
    attempt = fields.pop("attempt", message.attempt_count)
    receive(message.pk, status, at=at, attempt=attempt, **fields)
    message.refresh_from_db()
    return message


def judged(claimed, failure, *, now=NOW):
    """The result of a call as a worker decides it."""
    results = Results(
        owner=1,
        lease=LEASE,
        verdict_wait=HOUR,
        planner=Planner(rng=Random(0)),
        clock=lambda: now,
    )
    done = failed(claimed, failure, GiveUp(), at=now).send_result
    return results.judge([(claimed, done)])


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("route")
def test_a_handset_that_is_off_is_tried_by_the_table_and_then_given_up(settings):
    settings.RETRY_JITTER = 0
    message, at, seen = sent(), NOW, []
    for delay in (*DELAYS, None):
        report(message, BOUNCED, at=at, **OFF)
        seen.append((message.status, message.due_at - at if delay else None))
        if delay:
            at += delay
            with_provider(message, at=at)

    assert seen == [(QUEUED, each) for each in DELAYS] + [(BOUNCED, None)]
    assert message.attempt_count == 1 + len(DELAYS)
    assert message.retry_count == 0
    assert total().retries == len(DELAYS)
    assert differences() == []


@pytest.mark.usefixtures("route")
def test_answers_and_receipts_are_counted_together(settings):
    settings.RETRY_JITTER = 0
    message = sent()
    report(message, BOUNCED, **OFF)
    at = message.due_at

    (again,) = claim(now=at)
    (result,) = judged(again, HandsetOff("Absent", code="2"), now=at)
    write(result, now=at)
    message.refresh_from_db()
    third = with_provider(message, at=message.due_at)
    report(third, BOUNCED, at=third.due_at, **OFF)

    assert result.step == Retry(at + HOUR, False, note="handset off; 3 of 4")
    assert result.reason == "Retrying (handset off; 3 of 4): TwilioSMS 2: Absent"
    assert third.status_reason.startswith("Retrying (handset off; 4 of 4): TwilioSMS")


@pytest.mark.usefixtures("route")
def test_the_routes_own_retries_are_left_for_its_providers():
    messages(1, retry_count=3)
    (claimed,) = claim()

    (off,) = judged(claimed, HandsetOff())
    (refused,) = judged(claimed._replace(tried=("VonageSMS",)), ProviderError())

    assert isinstance(off.step, Retry)
    assert refused.step == GiveUp()


@pytest.mark.usefixtures("route")
def test_what_has_no_rule_is_final_as_before():
    RetryRule.objects.update(is_active=False)

    assert report(sent(), BOUNCED, **OFF).status == BOUNCED


@pytest.mark.usefixtures("route")
def test_it_says_what_it_waits_for_and_until_when(api, admin_client):
    message = report(sent(), BOUNCED, at=NOW, **OFF)

    reason = "(handset off; 2 of 4): TwilioSMS 30003: Unreachable destination handset"
    assert message.status_reason == f"Retrying {reason}"
    shown = f"Retrying 2025-06-02 09:15 UTC {reason}"
    assert message.reason_shown(now=NOW + 24 * HOUR) == shown
    assert message.reason_shown(now=NOW) == f"Retrying 09:15 UTC {reason}"
    wire = api("read").get(f"/api/messages/{message.pk}").json()
    assert wire["statusReason"] == shown
    page = admin_client.get(f"/admin/messaging/campaignmessage/{message.pk}/change/")
    assert shown in page.text
    timeline = {each.title: each.facts for each in timeline_of(message)}
    assert timeline["Next try"] == [f"Retrying {reason}"]
    assert any("Handset off" in str(facts) for facts in timeline.values())


def test_other_reasons_are_shown_as_they_are():
    at = datetime(2026, 1, 1, tzinfo=UTC)

    assert with_time("Quiet hours.", due_at=at, now=at) == "Quiet hours."


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("route")
def test_a_delivery_calls_off_the_retry_and_it_is_never_sent_twice():
    message = report(sent(), BOUNCED, **OFF)

    report(message, DELIVERED, at=NOW + MINUTE)

    assert message.status == DELIVERED
    assert claim(now=NOW + 24 * HOUR) == []
    assert differences() == []


@pytest.mark.usefixtures("route")
def test_a_receipt_before_the_answer_is_recorded_queues_it_once():
    (message,) = messages(1)
    (claimed,) = claim()

    report(message, BOUNCED, attempt=1, **OFF)
    write(accepted(claimed))

    message.refresh_from_db()
    assert (message.status, message.due_at) == (QUEUED, NOW + 15 * MINUTE)
    assert message.double_risk_at is None
    (again,) = claim(now=message.due_at)
    assert again.attempt_number == 2


@pytest.mark.usefixtures("route")
def test_what_was_said_of_an_earlier_attempt_disturbs_no_later_one():
    message = report(sent(), BOUNCED, **OFF)
    with_provider(message, at=message.due_at)

    report(message, FAILED, attempt=1, **OFF)

    assert (message.status, message.attempt_count) == (SENT, 2)


@pytest.mark.usefixtures("route")
def test_an_operator_may_send_it_now_and_the_table_goes_on_counting():
    message = report(sent(), BOUNCED, **OFF)
    CampaignMessage.objects.update(status=BOUNCED, finished_at=NOW)
    message.refresh_from_db()

    retry_message(message, now=NOW + MINUTE)
    with_provider(message, at=NOW + MINUTE)
    report(message, BOUNCED, at=NOW + MINUTE, **OFF)

    assert message.due_at == NOW + MINUTE + HOUR
    assert "3 of 4" in message.status_reason


@pytest.mark.parametrize("gone", ["text", "recipient"])
@pytest.mark.usefixtures("route")
def test_what_is_no_longer_stored_in_full_is_not_sent_again(gone):
    message = sent()
    if gone == "text":
        at = message.created_at + MINUTE
        RetentionMark.objects.create(step="texts", cleared_before=at)
    else:
        CampaignMessage.objects.update(recipient=f"{ERASED_RECIPIENT}{message.pk}")

    assert report(message, BOUNCED, **OFF).status == BOUNCED


@pytest.mark.parametrize("ending", ["stop", "expiry", "cancelled"])
@pytest.mark.usefixtures("route")
def test_a_gate_that_closed_meanwhile_holds(ending):
    message = report(sent(), BOUNCED, **OFF)
    if ending == "stop":
        receive(message.pk, None, opted_out=True)
    elif ending == "expiry":
        CampaignMessage.objects.update(expires_at=NOW + MINUTE)
    else:
        Campaign.objects.update(status=CampaignStatus.CANCELLED)

    assert claim(now=message.due_at) == []


@pytest.mark.parametrize(
    ("before", "after", "end"),
    [
        (CampaignStatus.COMPLETED, CampaignStatus.RUNNING, QUEUED),
        (CampaignStatus.CANCELLED, CampaignStatus.CANCELLED, BOUNCED),
    ],
)
@pytest.mark.usefixtures("route")
def test_a_completed_campaign_goes_on_and_a_cancelled_one_does_not(before, after, end):
    message = sent()
    Campaign.objects.update(status=before, completed_at=NOW)

    report(message, BOUNCED, **OFF)

    assert (Campaign.objects.get().status, message.status) == (after, end)


def verdicts():
    rates = DeliveryQuality.objects.filter(country="").values_list(
        "successes", "failures"
    )
    return [tuple(map(round, each)) for each in rates]


@pytest.mark.usefixtures("route")
def test_a_handset_that_is_off_says_nothing_of_the_provider_until_the_end():
    message, at = sent(), NOW
    for delay in DELAYS:
        report(message, BOUNCED, at=at, **OFF)
        at += delay
        with_provider(message, at=at)
        assert verdicts() == []

    report(message, BOUNCED, at=at, **OFF)

    assert verdicts() == [(0, 1)]


@pytest.mark.usefixtures("route")
def test_a_provider_that_delivers_after_all_gets_the_credit():
    message = report(sent(), BOUNCED, **OFF)

    report(message, DELIVERED)

    assert verdicts() == [(1, 0)]


SAID = [
    (SENT, {}),
    (DELIVERED, {}),
    (FAILED, GONE),
    (BOUNCED, GONE),
    (FAILED, OFF),
    (BOUNCED, OFF),
    (None, {}),
]


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    channel=st.sampled_from([Channel.SMS, Channel.EMAIL]),
    start=st.sampled_from(["queued", "sending", "sent", "unsettled", "failed"]),
    outcomes=st.lists(st.sampled_from(["UNKNOWN", "REJECTED"]), max_size=2),
    number=st.sampled_from([1, 2]),
)
def test_receipts_of_an_attempt_end_the_same_in_any_order(
    data, channel, start, outcomes, number
):
    said = data.draw(st.lists(st.sampled_from(SAID), min_size=1, max_size=5))
    order = data.draw(st.permutations(said))
    ends = []
    for each in (said, order):
        message = in_state(start, channel, outcomes)
        for status, fields in each:
            report(message, status, attempt=number, **fields)
        again = message.due_at if message.status == QUEUED else None
        ends.append((message.status, again))

    assert ends[0] == ends[1]


def in_state(start, channel, outcomes):
    """A message after two attempts, as far as they are on record."""
    fields = {
        "queued": {"status": QUEUED},
        "sending": {"status": MessageStatus.SENDING, "lease_expires_at": NOW + MINUTE},
        "sent": {"status": SENT, "sent_at": NOW},
        "unsettled": {"status": FAILED, "unknown_since": NOW, "finished_at": NOW},
        "failed": {"status": FAILED, "finished_at": NOW},
    }[start]
    campaign = CampaignFactory(channel=channel)
    message = MessageFactory(
        campaign=campaign, attempt_count=2, provider="TwilioSMS", **fields
    )
    for number, outcome in enumerate(outcomes, start=1):
        AttemptFactory(
            message=message, attempt_number=number, outcome=AttemptOutcome[outcome]
        )
    return message


@pytest.mark.usefixtures("route")
def test_an_email_that_was_delivered_and_came_back_is_not_sent_again():
    ends = set()
    for order in permutations([(DELIVERED, {}), (BOUNCED, OFF)]):
        message = in_state("sent", Channel.EMAIL, [])
        for status, fields in order:
            report(message, status, **fields)
        ends.add(message.status)

    assert ends == {BOUNCED}
