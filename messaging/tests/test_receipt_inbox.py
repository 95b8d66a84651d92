"""Receipts wait in the inbox until a worker applies them; none is lost on the way."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from marketing_platform.diagnosis.findings import Level
from marketing_platform.diagnosis.metrics import exposition, metrics
from marketing_platform.diagnosis.readiness import receipts as readiness_of_receipts
from marketing_platform.diagnosis.receipts import receipts_set_aside
from messaging.models import CampaignMessage, Suppression
from messaging.queue import receipts as applying
from messaging.queue.receipts import Choice, apply_receipts
from messaging.queue.worker import Limits, Processor
from messaging.queue_status import is_work_waiting
from messaging.tests.scenario import NOW, running, until_one_waits
from messaging.tests.test_receipts import message, on_record, receipt
from messaging.vocabulary import WorkerKind
from routing.models import DeliveryQuality, DeliveryReceipt, WaitingReceipt
from routing.receipts.inbox import store, take_back
from routing.tests.signed_calls import by_sendgrid
from routing.tests.test_webhooks import client, message_for
from routing.vocabulary import ErrorClass, MessageStatus

pytestmark = pytest.mark.django_db
__all__ = ["client"]
SENT, DELIVERED = MessageStatus.SENT, MessageStatus.DELIVERED
FAILED, BOUNCED = MessageStatus.FAILED, MessageStatus.BOUNCED
QUEUED = MessageStatus.QUEUED


def arrive(*receipts, now=NOW):
    """A webhook call is stored, but no worker has run since."""
    store(provider_name="TwilioSMS", receipts=receipts, raw="raw", now=now)


def status_of(about):
    return CampaignMessage.objects.values_list("status", flat=True).get(pk=about.pk)


def drain():
    """Run a worker until there is nothing left to do."""
    limits = Limits(window=5, batch_size=5)
    worker = Processor(kind=WorkerKind.COMMAND, limits=limits, idle_limit=timedelta(0))
    return worker.run()


def test_a_receipt_that_arrives_moves_nothing_until_a_worker_applies_it():
    about = message(SENT)
    arrive(receipt(about, DELIVERED))
    assert is_work_waiting(NOW)
    assert status_of(about) == SENT

    report = drain()

    assert report.receipts == 1
    assert status_of(about) == DELIVERED
    assert not WaitingReceipt.objects.exists()
    assert not is_work_waiting(NOW)


def test_what_a_worker_applies_last_is_in_its_report():
    arrive(receipt(message(SENT), DELIVERED))
    limits = Limits(window=5, batch_size=5, max_messages=0)

    report = Processor(kind=WorkerKind.COMMAND, limits=limits).run()

    assert report.receipts == 1


def test_an_event_waits_once_and_is_applied_once_however_often_it_comes():
    about = message(SENT)
    event = receipt(about, DELIVERED)

    arrive(event, event)
    arrive(event, now=NOW + timedelta(seconds=1))
    assert WaitingReceipt.objects.count() == 1
    first = apply_receipts(now=NOW)
    arrive(event, now=NOW + timedelta(hours=1))
    again = apply_receipts(now=NOW + timedelta(hours=1))

    assert (first.new, again.done, again.new) == (1, 1, 0)
    assert DeliveryReceipt.objects.get().received_at == NOW
    assert not WaitingReceipt.objects.exists()


def test_all_that_a_receipt_says_is_kept_while_it_waits():
    about = message(SENT)
    said = receipt(
        about,
        FAILED,
        recipient=about.recipient,
        occurred_at=NOW,
        error_code="30003",
        error_message="Unreachable \0 handset",
        error_class=ErrorClass.RECIPIENT,
        opted_out=True,
        complained=True,
        cap_zone="America/Los_Angeles",
        cost="0.0079",
        currency="USD",
    )
    arrive(said)

    with transaction.atomic():
        (waiting,) = Choice().take()

    for name in ("status", "recipient", "occurred_at", "error_class", "cap_zone"):
        assert getattr(waiting.receipt, name) == getattr(said, name), name
    assert waiting.receipt.error_message == "Unreachable  handset"
    assert str(waiting.receipt.cost) == "0.0079"
    assert waiting.receipt.opted_out and waiting.receipt.complained


@settings(max_examples=40, deadline=None)
@given(
    verdicts=st.lists(st.sampled_from([SENT, DELIVERED, FAILED, BOUNCED]), max_size=6),
    sizes=st.lists(st.integers(1, 3), min_size=6, max_size=6),
)
def test_in_batches_of_any_size_the_end_is_the_same(verdicts, sizes):
    together, apart = message(SENT), message(SENT)
    arrive(*(receipt(together, each) for each in verdicts))
    apply_receipts(now=NOW)

    arrive(*(receipt(apart, each) for each in verdicts))
    for size in sizes:
        apply_receipts(Choice(at_most=size), now=NOW)

    assert not WaitingReceipt.objects.exists()
    assert status_of(apart) == status_of(together)


def test_one_that_cannot_be_applied_is_set_aside_and_holds_up_no_other():
    spoilt, *others = [message(SENT) for _ in range(3)]
    arrive(*(receipt(each, DELIVERED) for each in (others[0], spoilt, others[1])))
    hear = applying.hear_all

    def fails_on_one(about, *args, **kwargs):
        if about.pk == spoilt.pk:
            raise ValueError("nobody thought of this")
        return hear(about, *args, **kwargs)

    with patch.object(applying, "hear_all", fails_on_one):
        assert apply_receipts(now=NOW).done == 3

    assert {status_of(each) for each in others} == {DELIVERED}
    assert status_of(spoilt) == SENT
    aside = WaitingReceipt.objects.get()
    assert aside.problem == "ValueError: nobody thought of this"
    assert receipts_set_aside(NOW).level == Level.WARN
    assert not is_work_waiting(NOW)

    assert take_back([aside.pk]) == 1
    drain()
    assert status_of(spoilt) == DELIVERED


def test_one_that_this_version_cannot_read_is_set_aside_alone():
    strange, other = message(SENT), message(SENT)
    arrive(receipt(strange, DELIVERED))
    known = WaitingReceipt.objects.get()
    for document in (known.receipt | {"of_a_later_version": 1}, {"status": 99}):
        known.receipt, known.set_aside_at, known.problem = document, None, ""
        known.save()
        arrive(receipt(other, SENT), receipt(other, DELIVERED))

        assert apply_receipts(now=NOW).done == 3

        assert status_of(other) == DELIVERED
        aside = WaitingReceipt.objects.get()
        assert aside.pk == known.pk
        assert aside.problem


def test_a_web_host_whose_clock_is_behind_changes_nothing():
    ends = []
    for received_at in (NOW - timedelta(minutes=10), NOW + timedelta(minutes=10)):
        about = on_record(message(QUEUED), "UNKNOWN", "REJECTED")
        arrive(receipt(about, FAILED, attempt=1), now=NOW)
        apply_receipts(now=NOW)
        arrive(receipt(about, SENT, attempt=1), now=received_at)
        apply_receipts(now=NOW)
        ends.append(status_of(about))
        row = DeliveryQuality.objects.get(country="")
        assert (row.successes, row.failures) == (0, 1)
        row.delete()

    assert ends == [FAILED, FAILED]


def test_who_wants_no_more_is_held_back_when_the_call_is_answered(client):
    about = message_for("SendGridEmail")
    call = by_sendgrid(f"m{about.pk}a1", "X1", event="spamreport")

    assert call.call(client).status_code == 204

    assert Suppression.objects.get().address == about.recipient


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("needs_a_server")
def test_a_message_that_is_locked_is_left_for_the_next_time():
    busy, free = message(SENT), message(SENT)
    arrive(receipt(busy, DELIVERED), receipt(free, DELIVERED))

    with ExitStack() as held, transaction.atomic():
        CampaignMessage.objects.select_for_update().get(pk=busy.pk)
        held.enter_context(running(lambda: apply_receipts(now=NOW)))
        held.pop_all().close()

    assert (status_of(busy), status_of(free)) == (SENT, DELIVERED)
    apply_receipts(now=NOW)
    assert status_of(busy) == DELIVERED


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("needs_a_server")
def test_a_complaint_waits_for_a_message_that_is_locked(client):
    about = message_for("SendGridEmail")
    call = by_sendgrid(f"m{about.pk}a1", "X1", event="spamreport")

    with ExitStack() as calling, transaction.atomic():
        CampaignMessage.objects.select_for_update().get(pk=about.pk)
        calling.enter_context(running(lambda: call.call(client)))
        until_one_waits()
        assert not Suppression.objects.exists()
        later = calling.pop_all()
    later.close()

    assert Suppression.objects.get().address == about.recipient


@pytest.mark.parametrize(("seconds", "level"), [(59, Level.OK), (61, Level.FAIL)])
def test_operators_see_when_receipts_wait_for_long(seconds, level):
    arrive(receipt(message(SENT), DELIVERED))
    now = NOW + timedelta(seconds=seconds)

    finding = readiness_of_receipts(now)

    assert finding.level == level
    assert "Receipts waiting to be applied: 1, oldest" in finding.text
    lines = exposition(metrics(now)).splitlines()
    assert 'receipts_waiting{for="worker"} 1' in lines
    assert f"receipts_oldest_waiting_seconds {seconds}" in lines
