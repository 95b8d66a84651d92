"""Messages that would fail every worker are quarantined, and the others go on."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from django.db import transaction

from messaging.models import Campaign, CampaignMessage
from messaging.queue.claimed import MOST_ATTEMPTS
from messaging.queue.quarantine import APART, WORKERS_LOST_AT_MOST
from messaging.queue.recover import recover_expired_leases
from messaging.queue.worker import Processor
from messaging.tests.scenario import (
    LEASE,
    MINUTE,
    NOW,
    accepted,
    claim,
    claimer,
    failed,
    messages,
    running,
    until_one_waits,
)
from messaging.vocabulary import WorkerKind
from routing.decision.planner import RoutingTable
from routing.models import MessageDeliveryAttempt
from routing.money import Money
from routing.providers.base import MessageError, OutcomeUnknown
from routing.rules.decide import AwaitVerdict, GiveUp
from routing.vocabulary import (
    AttemptOutcome,
    MessageStatus,
    RetryStrategy,
    UnknownOutcomePolicy,
)

pytestmark = pytest.mark.django_db
NO_KIND = 9


@pytest.fixture
def resending(route):
    """A route that resends unknown outcomes at once."""
    route.unknown_outcome_policy = UnknownOutcomePolicy.RESEND
    route.retry_strategy = RetryStrategy.LINEAR
    route.initial_retry_delay_seconds, route.max_retries = 0, 10
    route.save()
    return route


def lose_worker(now):
    """A worker claims what is due and dies; its leases run out and are recovered."""
    claim(now=now)
    recover(now + LEASE)


def recover(now):
    recover_expired_leases(
        routes=RoutingTable(), verdict_wait=MINUTE, now=now, rng=Random(0)
    )


def test_a_message_that_costs_three_workers_is_quarantined(resending):
    messages(1)

    for life in range(WORKERS_LOST_AT_MOST):
        lose_worker(NOW + life * 10 * MINUTE)

    (message,) = CampaignMessage.objects.quarantined()
    assert message.status_reason == (
        "Quarantined: 3 workers were lost with the message in flight."
    )
    assert message.is_outcome_unknown  # a receipt may still settle it
    assert message.attempts.count() == WORKERS_LOST_AT_MOST
    assert claim(now=NOW + timedelta(days=1)) == []


def test_a_message_that_has_cost_fewer_workers_goes_on(resending):
    messages(1)

    for life in range(WORKERS_LOST_AT_MOST - 1):
        lose_worker(NOW + life * 10 * MINUTE)

    assert CampaignMessage.objects.queued().count() == 1


def test_messages_that_have_cost_two_workers_are_claimed_apart(resending):
    messages(3)
    for life in range(WORKERS_LOST_AT_MOST - 1):
        lose_worker(NOW + life * 10 * MINUTE)
    fresh, *_ = messages(2)
    later = NOW + 60 * MINUTE

    together = claim(now=later)
    next_one = claim(now=later + APART)

    assert len(together) == 3
    assert fresh.pk in {each.message_id for each in together}
    assert len(next_one) == 1


@pytest.mark.parametrize(
    ("column", "name"), [("kind", "CampaignKind"), ("channel", "Channel")]
)
def test_a_message_that_cannot_be_placed_is_quarantined_and_the_others_leave(
    route, caplog, column, name
):
    (poison,), (well,) = messages(1), messages(1)
    Campaign.objects.filter(messages=poison).update(**{column: NO_KIND})

    (claimed,) = claim()

    assert claimed.message_id == well.pk
    assert CampaignMessage.objects.quarantined().get() == poison
    poison.refresh_from_db()
    assert poison.status_reason == f"Quarantined: ValueError: 9 is not a valid {name}"
    assert caplog.text.count(f"Message {poison.pk} was quarantined") == 1
    assert claim(now=NOW + MINUTE) == []


def test_a_message_that_cannot_be_counted_further_is_quarantined(route):
    messages(1, attempt_count=MOST_ATTEMPTS)

    assert claim() == []
    assert (
        "highest number of attempts"
        in CampaignMessage.objects.quarantined().get().status_reason
    )


def test_a_message_that_cannot_be_recovered_is_quarantined_and_the_others_go_on(route):
    (poison,), (well,) = messages(1), messages(1)
    claim()
    Campaign.objects.filter(messages=poison).update(kind=NO_KIND)

    recover(NOW + LEASE)

    assert CampaignMessage.objects.quarantined().get() == poison
    well.refresh_from_db()
    assert well.is_outcome_unknown


def test_a_call_that_was_given_up_and_came_back_is_on_record_as_both(route):
    (message,) = messages(1)
    worker = Processor(kind=WorkerKind.COMMAND, clock=lambda: NOW)
    (claimed,) = claim(owner=worker._owner)
    given_up = failed(claimed, OutcomeUnknown(), AwaitVerdict(NOW + MINUTE))

    worker.results.write([given_up, accepted(claimed, at=NOW + timedelta(seconds=1))])

    message.refresh_from_db()
    assert message.status == MessageStatus.SENT
    on_time, late = message.attempts.order_by("is_late")
    assert (on_time.outcome, late.outcome) == (
        AttemptOutcome.UNKNOWN,
        AttemptOutcome.ACCEPTED,
    )
    assert late.is_late


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("needs_a_server")
def test_a_result_that_meets_its_own_recovery_is_on_record_as_late(route):
    messages(1)
    worker = Processor(kind=WorkerKind.COMMAND, clock=lambda: NOW)
    (claimed,) = claim(owner=worker._owner)

    with ExitStack() as writing, transaction.atomic():
        recover(NOW + LEASE)
        writing.enter_context(
            running(lambda: worker.results.write([accepted(claimed)]))
        )
        until_one_waits()

    assert CampaignMessage.objects.get().status == MessageStatus.SENT
    assert MessageDeliveryAttempt.objects.get(is_late=True).external_message_id == "SM1"


def test_a_result_that_the_database_refuses_takes_no_other_with_it(route, caplog):
    messages(3)
    worker = Processor(kind=WorkerKind.COMMAND, clock=lambda: NOW)
    claimed = claimer(worker._owner).claim(limit=50, now=NOW).claimed
    results = [accepted(each, external_id=each.content.reference) for each in claimed]
    results[1] = with_cost(results[1], Money(Decimal(1), ""))  # of no currency

    worker.results.write(results)

    assert MessageDeliveryAttempt.objects.count() == 2
    (left,) = CampaignMessage.objects.filter(status=MessageStatus.SENDING)
    assert left.pk == claimed[1].message_id
    assert re.search(rf"Could not write the result of m{left.pk}a1", caplog.text)


def test_a_failure_that_its_adapter_put_wrongly_takes_no_other_with_it(route, caplog):
    messages(3)
    worker = Processor(kind=WorkerKind.COMMAND, clock=lambda: NOW)
    claimed = claimer(worker._owner).claim(limit=50, now=NOW).claimed
    results = [accepted(each, external_id=each.content.reference) for each in claimed]
    failure = MessageError("No.")
    failure.code = 400
    results[1] = failed(claimed[1], failure, GiveUp())

    worker.results.write(results)

    assert MessageDeliveryAttempt.objects.count() == 2
    mine = rf"Could not write the result of m{claimed[1].message_id}a1"
    assert re.search(mine, caplog.text)


def with_cost(result, cost):
    return result._replace(send_result=result.send_result._replace(cost=cost))


def test_a_message_of_which_nobody_can_say_what_comes_next_holds_no_other_up(
    route, caplog
):
    messages(1)
    (claimed,) = claim()
    worker = Processor(kind=WorkerKind.COMMAND, clock=lambda: NOW)
    sent = accepted(claimed)
    aimless = claimed._replace(route=None)

    [result] = worker.results.judge([(aimless, sent.send_result)])

    assert result.step == sent.step
