"""An outage of all providers costs time, never messages."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from io import StringIO
from random import Random

import pytest
from django.core.management import call_command

from marketing_platform.diagnosis.delivery import outages
from marketing_platform.diagnosis.findings import Level
from marketing_platform.diagnosis.metrics import exposition, metrics
from marketing_platform.diagnosis.readiness import queue
from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage
from messaging.queue.claim import Claimer
from messaging.queue.results import Results
from messaging.queue.sweep import expire_held
from messaging.queue_status import Outages, is_work_waiting, waits
from messaging.tests.scenario import LEASE, MINUTE, NOW, messages
from routing.decision.planner import Planner, RoutingTable
from routing.dispatch import SendResult
from routing.factories import RateFactory
from routing.models import ProviderHealth
from routing.providers.base import (
    Acceptance,
    AccountError,
    OutcomeUnknown,
    ProviderError,
    Throttled,
    UnmappedError,
    UnsuitableError,
)
from routing.rules.breaker import LIMITS, BreakerState
from routing.vocabulary import CampaignKind, Channel, MessageStatus, RetryStrategy

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
FAILURES = {
    "refused": ProviderError(code="refused", unavailable=True),
    "503": ProviderError(code="503"),
    "500": OutcomeUnknown(code="500"),
    "401": AccountError(code="401"),
}


class Workers:
    """One worker with a clock of its own, and providers that fail as it is told."""

    def __init__(self, **failing):
        self.now = NOW
        self.failing = failing  # provider: its failure, or several in turn
        self.calls = []
        planner = Planner(rng=Random(0), routes=RoutingTable(max_age=timedelta(0)))
        self._claimer = Claimer(owner=1, lease=LEASE, planner=planner)
        self._results = Results(
            owner=1,
            lease=LEASE,
            verdict_wait=HOUR,
            planner=planner,
            clock=lambda: self.now,
        )

    def turn(self, *, at_most=50):
        """Claim, call and record, fallbacks too; returns the providers called."""
        called = []
        claimed = self._claimer.claim(limit=at_most, now=self.now).claimed
        while claimed:
            called += [each.decision.provider for each in claimed]
            ended = [(each, self._call(each)) for each in claimed]
            claimed = self._results.write(self._results.judge(ended))
        return called

    def work(self, length, *, every=SECOND):
        """Take turns for so long."""
        until = self.now + length
        while self.now < until:
            self.turn()
            self.now += every

    def _call(self, claimed):
        name = claimed.decision.provider
        failure = self.failing.get(name)
        if isinstance(failure, list):
            failure = failure[len(self.calls) % len(failure)]
        self.calls.append(name)
        accepted = None if failure else Acceptance(f"id-{claimed.message_id}")
        return SendResult(name, self.now, 9, acceptance=accepted, failure=failure)


@pytest.fixture(autouse=True)
def at_now(route, monkeypatch):
    """What people read is of that time too."""
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    return route


def all_failing(name="503", **others):
    return Workers(TwilioSMS=FAILURES[name], VonageSMS=FAILURES[name], **others)


def breaker(provider="TwilioSMS"):
    return ProviderHealth.objects.get(provider=provider, channel=Channel.SMS)


def statuses():
    rows = CampaignMessage.objects.values_list("status", flat=True)
    return Counter(map(MessageStatus, rows))


@pytest.mark.parametrize("name", ["refused", "503", "401"])
def test_messages_wait_in_their_lane_untouched_and_leave_when_it_is_over(name):
    messages(300)
    workers = all_failing(name)

    workers.work(HOUR, every=5 * SECOND)

    assert statuses() == {MessageStatus.QUEUED: 300}
    assert len(workers.calls) < 300
    assert not CampaignMessage.objects.exclude(retry_count=0).exists()
    assert CampaignMessage.objects.filter(due_at=NOW - MINUTE).count() >= 200
    workers.failing = {}
    workers.work(6 * MINUTE)
    assert statuses() == {MessageStatus.SENT: 300}


def test_a_provider_that_answers_500_to_everything_is_left_alone_after_a_few():
    messages(300)
    workers = all_failing("500")

    workers.work(HOUR, every=5 * SECOND)

    unknown = CampaignMessage.objects.outcome_unknown().count()
    assert unknown == len(workers.calls) < 150
    assert statuses()[MessageStatus.QUEUED] == 300 - unknown


def test_the_calls_that_show_the_outage_use_up_no_retry_even_where_there_is_none(route):
    route.retry_strategy, route.max_retries = RetryStrategy.NONE, 0
    route.save()
    messages(20)

    all_failing().turn()

    assert statuses() == {MessageStatus.QUEUED: 20}


@pytest.mark.parametrize(("count", "max_retries"), [(1, 3), (4, 0)])
@pytest.mark.parametrize("fallback_provider", ["VonageSMS", ""])
def test_an_outage_that_too_few_messages_show_fails_none(
    route, count, max_retries, fallback_provider
):
    route.max_retries = max_retries
    route.fallback_provider = fallback_provider
    route.enable_fallback = bool(fallback_provider)
    route.save()
    messages(count)
    workers = all_failing()

    workers.work(HOUR, every=20 * SECOND)

    assert statuses() == {MessageStatus.QUEUED: count}
    workers.failing = {}
    workers.work(20 * MINUTE, every=20 * SECOND)
    assert statuses() == {MessageStatus.SENT: count}


def test_a_message_that_fails_alone_uses_up_its_retries(route):
    route.max_retries = 0
    route.enable_fallback, route.fallback_provider = False, ""
    route.save()
    messages(2)
    workers = Workers(TwilioSMS=[None, FAILURES["503"]])

    workers.turn()

    assert statuses() == {MessageStatus.SENT: 1, MessageStatus.FAILED: 1}


def test_providers_that_come_and_go_hardly_use_up_retries(route):
    route.max_retries = 1
    route.save()
    messages(100)
    workers = Workers()

    for turn in range(200):
        workers.failing = dict.fromkeys(
            ("TwilioSMS", "VonageSMS"), None if turn % 2 else FAILURES["503"]
        )
        workers.work(SECOND)

    assert statuses()[MessageStatus.SENT] > 50
    assert statuses()[MessageStatus.FAILED] == 0


@pytest.mark.parametrize(
    "failing",
    [
        {"TwilioSMS": FAILURES["503"], "VonageSMS": UnsuitableError(code="9")},
        {"TwilioSMS": UnsuitableError(code="9"), "VonageSMS": FAILURES["503"]},
        {"TwilioSMS": Throttled(code="429"), "VonageSMS": FAILURES["503"]},
    ],
)
def test_an_outage_of_the_only_provider_that_may_carry_it_fails_no_message(
    route, failing
):
    route.max_retries = 0
    route.save()
    messages(20)

    Workers(**failing).work(10 * MINUTE, every=10 * SECOND)

    assert statuses() == {MessageStatus.QUEUED: 20}


def test_an_outage_of_the_only_provider_that_is_cheap_enough_fails_no_message(route):
    for provider, price in (("TwilioSMS", "0.01"), ("VonageSMS", "9")):
        RateFactory(
            provider=provider,
            price=price,
            country="US",
            dial_prefix="1",
            valid_from=NOW.date(),
        )
    route.max_retries, route.maximum_cost = 0, 1
    route.save()
    messages(20)
    workers = Workers(TwilioSMS=FAILURES["503"])

    workers.work(10 * MINUTE, every=10 * SECOND)

    assert set(workers.calls) == {"TwilioSMS"}
    assert statuses() == {MessageStatus.QUEUED: 20}


@pytest.mark.parametrize("is_back", [False, True])
def test_a_clock_set_back_holds_nothing_for_longer(is_back):
    messages(100)
    workers = all_failing()
    workers.work(3 * MINUTE)
    if is_back:
        workers.failing = {}
        while not statuses()[MessageStatus.SENT]:
            workers.work(SECOND)

    workers.now -= HOUR
    CampaignMessage.objects.update(due_at=workers.now)
    workers.failing = {}
    workers.work(2 * MINUTE)

    assert statuses() == {MessageStatus.SENT: 100}


def test_a_message_alone_is_tried_again_as_soon_as_its_provider_answers():
    messages(100)
    workers = all_failing()
    workers.work(20 * MINUTE, every=5 * SECOND)
    workers.failing = {}

    for _ in range(400):
        if "accepted" in workers.calls or statuses()[MessageStatus.SENT]:
            break
        workers.work(SECOND)

    back_at = max(each.open_until or NOW for each in ProviderHealth.objects.all())
    assert statuses()[MessageStatus.SENT]
    assert workers.now <= max(back_at, NOW + 25 * MINUTE)


def test_one_message_at_a_time_probes_each_provider():
    messages(300)
    workers = all_failing()
    workers.work(MINUTE, every=SECOND)
    before = len(workers.calls)

    opened = [breaker(name).open_until for name in ("TwilioSMS", "VonageSMS")]
    workers.now = max(opened) + SECOND
    called = workers.turn()

    assert 1 <= len(called) <= 2 < before
    assert len(set(called)) == len(called)
    assert workers.turn() == []


def test_messages_come_back_at_a_growing_rate():
    messages(400)
    workers = Workers(TwilioSMS=FAILURES["503"], VonageSMS=FAILURES["503"])
    workers.work(MINUTE)
    workers.failing = {"VonageSMS": FAILURES["503"]}
    while breaker().state != BreakerState.CLOSED:
        workers.work(SECOND)

    back = []
    for _ in range(5):
        before = len(workers.calls)
        workers.work(5 * SECOND, every=SECOND / 20)
        back.append(len(workers.calls) - before)

    allowed = [5 * rate for rate in LIMITS.return_rates[:5]]
    assert back == pytest.approx(allowed, rel=0.4)
    assert statuses()[MessageStatus.FAILED] == 0


def test_while_some_calls_succeed_nothing_is_held_and_no_retry_is_used_up(route):
    route.enable_fallback, route.fallback_provider = False, ""
    route.save()
    messages(400)
    workers = Workers(TwilioSMS=[FAILURES["503"], None, FAILURES["503"]])

    workers.work(30 * SECOND)

    assert breaker().breaker.is_last_way_out
    assert statuses()[MessageStatus.SENT] > 100
    assert statuses()[MessageStatus.FAILED] == 0
    assert not CampaignMessage.objects.exclude(retry_count=0).exists()


def test_a_few_failures_soon_after_a_success_are_no_outage_but_a_long_run_is(route):
    route.enable_fallback, route.fallback_provider = False, ""
    route.save()
    messages(60)
    workers = Workers()
    workers.turn(at_most=1)
    workers.failing = {"TwilioSMS": FAILURES["503"]}

    for _ in range(2):
        workers.turn(at_most=9)
        assert breaker().breaker.is_last_way_out
        assert breaker().state == BreakerState.CLOSED
    workers.turn(at_most=9)

    assert breaker().state == BreakerState.OPEN


def test_a_run_of_messages_that_are_refused_for_unknown_reasons_holds_nobody(route):
    route.enable_fallback, route.fallback_provider = False, ""
    route.save()
    messages(30)

    Workers(TwilioSMS=UnmappedError(code="999")).turn()

    assert breaker().breaker.is_last_way_out
    assert not Outages(now=NOW).holding(CampaignMessage.objects.first().campaign)


def test_a_fallback_that_was_out_of_use_too_stands_by_again_when_it_is_needed():
    workers = all_failing()
    messages(60)
    workers.work(MINUTE)
    workers.failing = {}
    workers.work(10 * MINUTE, every=5 * SECOND)
    workers.now += HOUR
    messages(20, due_at=workers.now)

    workers.failing = {"TwilioSMS": FAILURES["503"]}
    workers.work(20 * SECOND)

    assert statuses() == {MessageStatus.SENT: 80}
    assert workers.calls[-1] == "VonageSMS"


def test_a_fallback_due_for_its_probe_is_tried_before_the_message_waits():
    ProviderHealth.objects.create(
        provider="VonageSMS",
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        open_until=NOW - HOUR,
    )
    messages(1, campaign=CampaignFactory(kind=CampaignKind.TRANSACTIONAL))
    workers = Workers(TwilioSMS=FAILURES["503"])

    assert workers.turn() == ["TwilioSMS", "VonageSMS"]
    assert statuses() == {MessageStatus.SENT: 1}
    assert breaker("VonageSMS").state == BreakerState.HALF_OPEN


def test_messages_expire_on_time_in_a_lane_that_is_held():
    messages(30)
    mortal, *_ = messages(2, expires_at=NOW + MINUTE)
    workers = all_failing()
    workers.turn()
    workers.turn()

    assert expire_held(now=NOW) == 0
    assert expire_held(now=NOW + MINUTE) == 2

    mortal.refresh_from_db()
    assert mortal.status == MessageStatus.EXPIRED
    assert statuses()[MessageStatus.QUEUED] == 30


def test_another_channel_and_another_route_go_on():
    messages(60)
    email = CampaignFactory(channel=Channel.EMAIL, subject="News")
    all_failing().turn()

    held = Outages(now=NOW)

    assert held.holding(CampaignMessage.objects.first().campaign)
    assert not held.holding(email)


def test_workers_are_not_started_for_messages_that_an_outage_holds():
    messages(60)
    workers = all_failing()
    workers.turn()
    workers.turn()
    due = min(each.open_until for each in ProviderHealth.objects.all())

    assert not is_work_waiting(NOW)
    assert is_work_waiting(due)


def test_people_read_since_when_why_and_until_when(api):
    rows = messages(60)
    workers = Workers(TwilioSMS=FAILURES["503"], VonageSMS=FAILURES["refused"])
    workers.turn()
    workers.turn()

    said = Outages(now=NOW).reason_for(rows[-1])
    assert said.startswith(
        "SMS is on hold since 09:00:00 UTC: TwilioSMS and VonageSMS fail "
        "(503, refused). Next try 09:00:0"
    )
    assert [str(each) for each in waits(now=NOW)] == [f"60 waiting: {said}"]
    finding = outages(NOW)
    assert finding.level == Level.FAIL
    assert finding.text == f"{said} 60 due messages wait."
    assert 'messages_on_hold{channel="SMS",kind="Marketing"} 1' in exposition(
        metrics(NOW)
    ).replace("messaging_", "")
    shown = api("read").get(f"/api/messages/{rows[-1].pk}").json()
    assert shown["statusReason"] == said
    explained = StringIO()
    call_command(
        "explain_route", channel="sms", to="+14155552671", json=True, stdout=explained
    )
    assert said in json.loads(explained.getvalue())["why"]


def test_an_outage_makes_no_web_host_unready():
    messages(60, due_at=NOW - HOUR)
    workers = all_failing()
    workers.turn()
    workers.turn()

    assert queue(NOW + HOUR).level == Level.OK

    ProviderHealth.objects.all().delete()
    assert queue(NOW + HOUR).level == Level.FAIL
