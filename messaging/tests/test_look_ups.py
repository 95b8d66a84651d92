"""Messages whose outcome is unknown, and what a look-up makes of them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from django.db.models import F

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage
from messaging.queue.coordination import Heartbeat
from messaging.queue.look_ups import SHORTEST_PAUSE, LookUps
from messaging.queue.recover import recover_expired_leases
from messaging.queue.worker import Limits, Processor
from messaging.rules.look_up_pace import FIRST
from messaging.tests.conftest import MEMORY_PROVIDERS
from messaging.tests.scenario import LEASE, NOW, claim, messages, unfinished
from messaging.timeline import timeline_of
from messaging.transitions import NO_VERDICT
from messaging.vocabulary import WorkerKind
from routing.decision.planner import RoutingTable
from routing.factories import AttemptFactory, ReceiptFactory, RouteFactory
from routing.models import (
    ChannelRoutingConfig,
    MessageDeliveryAttempt,
    ProviderHealth,
    ProviderThrottle,
)
from routing.providers.base import (
    LookUpFailed,
    LookUpRefused,
    OutcomeUnknown,
    Receipt,
)
from routing.providers.memory import MemorySMS
from routing.providers.registry import registry
from routing.rules.breaker import BreakerState
from routing.simulators.handset import read_handset_log
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    FallbackReason,
    MessageStatus,
)

pytestmark = pytest.mark.django_db
SETTLING = timedelta(seconds=60)
WAIT = timedelta(hours=1)
LOST_AT = NOW + LEASE


@pytest.fixture
def askable(settings):
    """In-memory Twilio and Vonage, which can be asked a minute after a call."""
    settings.MESSAGE_PROVIDERS = {
        name: definition
        | {"OPTIONS": {"SETTLING_SECONDS": SETTLING.total_seconds(), "TIMEOUT": 30}}
        for name, definition in MEMORY_PROVIDERS.items()
    }
    RouteFactory()
    return registry.get("TwilioSMS")


@pytest.fixture
def lost(askable):
    """A message whose worker died and whose lease has run out."""
    messages(1)
    (claimed,) = claim()
    recover(LOST_AT)
    return claimed


def recover(now):
    return recover_expired_leases(
        routes=RoutingTable(), verdict_wait=WAIT, now=now, rng=Random(0)
    )


def look_ups(owner=2):
    return LookUps(owner=owner, lease=LEASE, verdict_wait=WAIT, routes=RoutingTable())


def ask(now, *, worker=None):
    """Make the look-ups that are due, and act on the answers."""
    worker = worker or look_ups()
    worker.begin(now=now)
    deadline = time.monotonic() + 5
    done = []
    while worker.in_flight and time.monotonic() < deadline:
        done += worker.finish(now=now)
        time.sleep(0.001)
    return done


def message():
    return CampaignMessage.objects.get()


SETTLED = LOST_AT + timedelta(seconds=30) + SETTLING  # the call may have run on


def test_nobody_is_asked_before_the_settling_time(lost):
    assert message().lease_expires_at == SETTLED

    assert ask(SETTLED - timedelta(seconds=1)) == []

    assert not message().receipts.exists()


def test_a_message_that_the_provider_has_is_sent(lost, askable):
    askable.send(lost.content)  # before its worker died

    ask(SETTLED)

    assert message().status == MessageStatus.SENT
    assert not message().is_outcome_unknown
    attempt = MessageDeliveryAttempt.objects.get()
    assert attempt.outcome == AttemptOutcome.UNKNOWN  # as it was known then
    titles = [entry.title for entry in timeline_of(message())]
    assert "TwilioSMS says accepted (looked up)" in titles


def test_a_message_that_the_provider_lacks_was_certainly_not_sent(lost):
    ((claimed, done),) = ask(SETTLED)

    assert claimed.message_id == lost.message_id
    assert done.outcome == AttemptOutcome.REJECTED
    titles = [entry.title for entry in timeline_of(message())]
    assert "TwilioSMS says not found (looked up)" in titles


def test_a_provider_that_cannot_tell_is_asked_again_with_growing_pauses(lost, askable):
    askable.cannot_tell = True
    pauses, now = [], SETTLED

    for _ in range(3):
        ask(now)
        pauses.append(message().lease_expires_at - now)
        now = message().lease_expires_at

    assert SHORTEST_PAUSE < pauses[0] < pauses[1] < pauses[2]
    assert "Look-up at TwilioSMS: The memory fails." in message().status_reason


class Babbling(MemorySMS):
    """Answers look-ups with an invalid status."""

    def look_up(self, enquiry):
        return replace(super().look_up(enquiry), status="yes")


def test_an_answer_without_sense_ends_no_worker(lost, settings, caplog):
    backend = {"BACKEND": f"{__name__}.Babbling"}
    settings.MESSAGE_PROVIDERS = {
        name: definition | backend
        for name, definition in settings.MESSAGE_PROVIDERS.items()
    }
    registry.get("TwilioSMS").send(lost.content)

    ask(SETTLED)

    assert message().is_outcome_unknown
    assert message().lease_expires_at > SETTLED
    assert "is set aside" in caplog.text


def test_a_provider_that_never_tells_is_given_up_when_the_wait_is_over(lost, askable):
    askable.cannot_tell = True
    while message().lease_expires_at < LOST_AT + WAIT:
        now = message().lease_expires_at
        recover(now)
        ask(now)

    recover(LOST_AT + WAIT)

    assert message().status == MessageStatus.FAILED
    assert message().status_reason == NO_VERDICT


def test_two_workers_never_ask_about_the_same_message(lost):
    first, second = look_ups(owner=1), look_ups(owner=2)
    first.begin(now=SETTLED)
    second.begin(now=SETTLED)

    assert (first.in_flight, second.in_flight) == (1, 0)


def test_a_message_whose_asker_died_is_asked_about_again(lost, askable):
    askable.send(lost.content)
    look_ups(owner=1).begin(now=SETTLED)  # and dies

    assert recover(SETTLED + LEASE) == 0
    ask(SETTLED + LEASE)

    assert message().status == MessageStatus.SENT


def test_what_another_message_was_sent_as_is_not_taken_for_this_one(lost, askable):
    askable.send(lost.content)
    other = messages(1)[0]
    AttemptFactory(message=other, external_message_id="SM1")
    askable.look_up = with_id("SM1", askable.look_up)

    ask(SETTLED)

    lost_one = CampaignMessage.objects.get(pk=lost.message_id)
    assert lost_one.is_outcome_unknown
    assert "a different message" in lost_one.status_reason


def test_what_settled_another_unknown_message_does_not_settle_this_one(lost, askable):
    """The other one's attempt has no id on record: only a receipt has it."""
    askable.send(lost.content)
    other = messages(1)[0]
    recipient = lost.content.recipient
    CampaignMessage.objects.update(recipient=recipient, occurrence=F("id"))
    AttemptFactory(message=other, outcome=AttemptOutcome.UNKNOWN)
    ReceiptFactory(message=other, provider="TwilioSMS", external_message_id="SM1")
    askable.look_up = with_id("SM1", askable.look_up)

    ask(SETTLED)

    lost_one = CampaignMessage.objects.get(pk=lost.message_id)
    assert lost_one.is_outcome_unknown
    assert "a different message" in lost_one.status_reason


def test_doubtful_messages_that_are_others_of_ours_leave_no_doubt(lost, askable):
    askable.look_up = in_doubt_about("SM1")
    AttemptFactory(message=messages(1)[0], external_message_id="SM1")

    ((claimed, done),) = ask(SETTLED)

    assert claimed.message_id == lost.message_id
    assert done.outcome == AttemptOutcome.REJECTED


def test_a_doubtful_message_that_is_not_on_record_may_be_this_one(lost, askable):
    askable.look_up = in_doubt_about("SM1", "SM2")
    AttemptFactory(message=messages(1)[0], external_message_id="SM1")

    assert ask(SETTLED) == []


def in_doubt_about(*external_ids):
    """A look-up that finds messages of which it cannot tell whether one is it."""

    def look_up(enquiry):
        raise LookUpFailed(doubtful=external_ids)

    return look_up


# Many at once.


def many(count):
    """Messages whose worker died, and whose leases have run out."""
    messages(count)
    claimed = claim(limit=count)
    recover(LOST_AT)
    return claimed


@pytest.fixture
def held_back(askable):
    """A provider that answers when told to, and the questions it has got."""
    asked, may_answer, answer = [], threading.Event(), askable.look_up

    def look_up(enquiry):
        asked.append(enquiry)
        assert may_answer.wait(5)
        return answer(enquiry)

    askable.look_up = look_up
    yield asked, may_answer
    may_answer.set()


def test_a_worker_asks_more_at_once_while_answers_come(askable):
    many(3 * FIRST)
    worker = look_ups()
    worker.begin(now=SETTLED)
    before = worker.in_flight

    drain(worker)
    worker.begin(now=SETTLED)

    assert (before, len(worker._under_way)) == (FIRST, 2 * FIRST)


def drain(worker, now=SETTLED):
    """Act on all answers to the questions under way together."""
    until_all_came_back(worker)
    return worker.finish(now=now)


def until_all_came_back(worker):
    deadline = time.monotonic() + 5
    while len(worker._under_way) > worker._done.qsize():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_nobody_is_asked_while_the_provider_wants_a_pause(askable):
    many(2 * FIRST)
    askable.look_up = refuse_for(timedelta(minutes=1))
    worker = look_ups()
    worker.begin(now=SETTLED)
    drain(worker)

    worker.begin(now=SETTLED + timedelta(seconds=59))
    assert worker.in_flight == 0
    worker.begin(now=SETTLED + timedelta(seconds=60))
    assert worker.in_flight == FIRST // 2


def refuse_for(pause):
    """A provider that asks to slow down."""

    def look_up(enquiry):
        raise LookUpRefused("Too many requests.", retry_after=pause)

    return look_up


def test_one_at_a_time_is_asked_about_at_a_provider_that_is_out_of_use(held_back):
    many(3)
    ProviderHealth.objects.create(
        provider="TwilioSMS", channel=Channel.SMS, state=BreakerState.OPEN
    )
    worker = look_ups()

    worker.begin(now=SETTLED)
    worker.begin(now=SETTLED)

    assert worker.in_flight == 1


def test_look_ups_draw_on_the_throttle_of_their_provider(held_back):
    many(3)
    ProviderThrottle.objects.create(
        provider="TwilioSMS", rate_per_second=1, burst=2, tat=SETTLED
    )
    worker = look_ups()

    worker.begin(now=SETTLED)

    assert worker.in_flight == 2


def test_no_more_is_asked_while_what_was_not_sent_crowds_the_window(askable):
    many(2 * FIRST)
    may_answer = threading.Event()
    registry.get("VonageSMS").send = lambda message: may_answer.wait(5)
    limits = Limits(window=1, lease=LEASE, verdict_wait=WAIT)
    worker = Processor(kind=WorkerKind.COMMAND, limits=limits, clock=lambda: SETTLED)
    worker._look_ups.begin(now=SETTLED)
    until_all_came_back(worker._look_ups)

    worker._look_up()

    may_answer.set()
    assert worker._window.in_flight == FIRST
    assert worker._look_ups.in_flight == 0
    worker._window.close()


def test_two_that_find_the_same_message_are_not_both_settled(askable):
    many(2)
    CampaignMessage.objects.update(recipient="+14155550100", occurrence=F("id"))
    askable.look_up = lambda enquiry: Receipt(
        event_id="SM1:sent",
        reference=enquiry.message.reference,
        external_message_id="SM1",
        status=MessageStatus.SENT,
        provider_status="sent",
    )
    worker = look_ups()
    worker.begin(now=SETTLED)

    drain(worker)

    [unsettled] = CampaignMessage.objects.sending()
    assert "a different message" in unsettled.status_reason


def test_an_answer_that_cannot_be_read_holds_up_no_other(askable, caplog):
    first, *others = many(3)
    for each in others:
        askable.send(each.content)
    usual = askable.look_up

    def look_up(enquiry):
        is_bad = enquiry.message.reference == first.content.reference
        return Receipt(*["x"] * 3, object(), "") if is_bad else usual(enquiry)

    askable.look_up = look_up
    worker = look_ups()
    worker.begin(now=SETTLED)

    drain(worker)

    [left] = CampaignMessage.objects.sending()
    assert left.pk == first.message_id


# What it was sent as stands on its attempt: the options may be changed afterwards.


def change_options(settings, **options):
    """As a deployment does it."""
    settings.MESSAGE_PROVIDERS = {
        name: {**definition, "OPTIONS": {**definition["OPTIONS"], **options}}
        for name, definition in settings.MESSAGE_PROVIDERS.items()
    }


@pytest.fixture
def with_accounts(askable, settings):
    change_options(settings, ACCOUNT="first", FROM="+15005550006")


def is_looked_up(settings, *, asked):
    """Change the account and look up what is lost: whether it counts as not sent."""
    change_options(settings, ACCOUNT="second")
    return bool(ask(asked))


def test_a_lost_worker_leaves_on_record_what_it_sent_as(with_accounts, settings):
    messages(1)
    claim()
    heartbeat = Heartbeat(owner=1, kind=WorkerKind.COMMAND, clock=lambda: NOW)
    heartbeat.beat(in_flight=1, clock_skew=timedelta(0))
    change_options(settings, FROM="+15005550009")
    recover(LOST_AT)

    sent_as = message().attempts.get().decision["sent_as"]

    assert sent_as["sender"] == "+15005550006"
    assert not is_looked_up(settings, asked=SETTLED)
    assert "account has been changed" in message().status_reason


def test_an_unknown_outcome_leaves_on_record_what_it_was_sent_as(
    with_accounts, settings
):
    messages(1)
    registry.get("TwilioSMS").fail_with(OutcomeUnknown("no answer"))
    Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0), clock=lambda: NOW).run()

    sent_as = message().attempts.get().decision["sent_as"]

    assert sent_as["sender"] == "+15005550006"
    assert not is_looked_up(settings, asked=NOW + SETTLING)
    assert "account has been changed" in message().status_reason


def with_id(external_id, look_up):
    """The answers of a provider that gives the id of a message."""
    return lambda enquiry: replace(look_up(enquiry), external_message_id=external_id)


def test_a_message_without_a_route_waits_until_it_has_one(lost, askable):
    ChannelRoutingConfig.objects.all().delete()

    assert ask(SETTLED) == []

    assert message().is_outcome_unknown


# Over the real wires, by a whole worker.


@pytest.fixture
def arrivals(simulator_process):
    """The messages that simulated providers accepted: provider and recipient."""

    def read():
        entries = read_handset_log(simulator_process.handset_log)
        return [
            (e.message.provider, e.message.recipient)
            for e in entries
            if e.event == "accepted"
        ]

    return read


@pytest.fixture
def quickly(simulator, settings):
    """Look-ups without a wait."""
    settings.MESSAGE_PROVIDERS = {
        name: {**definition, "OPTIONS": definition["OPTIONS"] | quick(definition)}
        for name, definition in settings.MESSAGE_PROVIDERS.items()
    }
    return simulator


def quick(definition):
    has_look_up = "SETTLING_SECONDS" in definition["OPTIONS"]
    return {"SETTLING_SECONDS": 0.05} if has_look_up else {}


def work_until(is_done):
    """Run a worker until the condition holds."""
    worker = Processor(kind=WorkerKind.COMMAND, limits=Limits(lease=LEASE))
    deadline = time.monotonic() + 20
    turn = worker._turn

    def look():
        turn()
        if is_done() or time.monotonic() > deadline:
            worker.stop()

    worker._turn = look
    worker.run()
    assert is_done()


def is_settled():
    return not unfinished().exists()


PROVIDERS = [
    (Channel.SMS, "TwilioSMS", "VonageSMS"),
    (Channel.SMS, "VonageSMS", "TwilioSMS"),
    (Channel.MMS, "TwilioMMS", "VonageMMS"),
    (Channel.EMAIL, "SendGridEmail", "SMTPEmail"),
]


def to_send(channel, primary, fallback):
    RouteFactory(channel=channel, primary_provider=primary, fallback_provider=fallback)
    campaign = CampaignFactory(
        channel=channel,
        subject="Hi" if channel == Channel.EMAIL else "",
        media_urls=["https://example.com/a.jpg"] if channel == Channel.MMS else [],
    )
    is_email = channel == Channel.EMAIL
    recipient = "ada@example.com" if is_email else "+14155550111"
    return messages(1, campaign=campaign, recipient=recipient)[0]


@pytest.mark.parametrize(("channel", "primary", "fallback"), PROVIDERS)
def test_a_message_whose_answer_was_lost_is_found_and_not_sent_again(
    quickly, arrivals, channel, primary, fallback
):
    sent = to_send(channel, primary, fallback)
    quickly.set_fault(primary, "drop", accepted=True, count=1)

    work_until(is_settled)

    assert arrivals() == [(primary, sent.recipient)]
    sent.refresh_from_db()
    assert sent.status in {MessageStatus.SENT, MessageStatus.DELIVERED}
    assert sent.attempts.get().outcome == AttemptOutcome.UNKNOWN


@pytest.mark.parametrize(("channel", "primary", "fallback"), PROVIDERS)
def test_a_message_that_never_arrived_falls_back(
    quickly, arrivals, channel, primary, fallback
):
    sent = to_send(channel, primary, fallback)
    quickly.set_fault(primary, "drop", accepted=False, count=1)

    work_until(is_settled)

    assert arrivals() == [(fallback, sent.recipient)]
    first, second = sent.attempts.all()
    assert first.outcome == AttemptOutcome.UNKNOWN
    assert second.outcome == AttemptOutcome.ACCEPTED
    assert second.fallback_reason == FallbackReason.PRIMARY_FAILED


def test_a_look_up_that_fails_leaves_the_outcome_unknown(quickly, arrivals):
    sent = to_send(Channel.SMS, "TwilioSMS", "VonageSMS")
    quickly.set_fault("TwilioSMS", "drop", accepted=False, count=1)
    quickly.configure(look_up_status=500)

    work_until(lambda: "Look-up at" in message().status_reason)

    sent.refresh_from_db()
    assert sent.is_outcome_unknown
    assert arrivals() == []


def test_a_worker_that_is_told_to_stop_ends_its_look_ups(lost, askable):
    worker = Processor(kind=WorkerKind.COMMAND, clock=lambda: SETTLED)
    threading.Timer(0.3, worker.stop).start()

    worker.run()

    assert worker._look_ups.in_flight == 0
