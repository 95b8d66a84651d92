"""Hosts that do not reach the providers, and what it does to messages and breakers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from marketing_platform.diagnosis.delivery import workers_aside
from messaging.models import CampaignMessage, WorkerHeartbeat
from messaging.queue import reach
from messaging.queue.coordination import Heartbeat
from messaging.queue.reach import Reach
from messaging.queue.worker import Processor
from messaging.tests.scenario import NOW, accepted, claim, failed, messages, write
from messaging.vocabulary import WorkerKind
from routing.factories import RouteFactory
from routing.models import ProviderHealth
from routing.providers.base import HostFault, Unreached
from routing.providers.registry import registry
from routing.vocabulary import AttemptOutcome, MessageStatus

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
TIMED_OUT = Unreached("timed out")
NO_WAY = Unreached("no route to host", may_be_ours=True)


def work():
    """Run a worker once; its report."""
    worker = Processor(
        kind=WorkerKind.COMMAND, idle_limit=timedelta(0), clock=lambda: NOW
    )
    return worker.run()


def fail(provider, *failures):
    registry.get(provider).fail_with(*failures)


def ended(*results):
    return [(each.claimed, each.send_result) for each in results]


def is_unharmed(message):
    message.refresh_from_db()
    return (message.status, message.retry_count) == (MessageStatus.QUEUED, 0)


@pytest.mark.parametrize("failure", [HostFault("Too many open files"), NO_WAY], ids=str)
def test_what_only_this_host_lacks_harms_neither_message_nor_provider(
    memory_providers, failure
):
    RouteFactory(max_retries=0)
    (sent,) = messages(1)
    fail("TwilioSMS", failure)
    fail("VonageSMS", failure)

    work()

    assert is_unharmed(sent)
    assert sent.due_at > NOW
    assert not ProviderHealth.objects.exists()
    assert {each.outcome for each in sent.attempts.all()} == {AttemptOutcome.REJECTED}


def test_a_provider_without_an_address_is_passed_over_at_once(memory_providers):
    RouteFactory()
    (sent,) = messages(1)
    fail("TwilioSMS", NO_WAY)

    work()

    assert [each.provider for each in sent.attempts.all()] == ["TwilioSMS", "VonageSMS"]
    sent.refresh_from_db()
    assert sent.status == MessageStatus.SENT


def test_a_provider_that_nobody_reaches_is_to_blame(memory_providers):
    RouteFactory(enable_fallback=False, max_retries=1)
    (sent,) = messages(1)
    fail("TwilioSMS", TIMED_OUT)

    work()

    assert ProviderHealth.objects.get().failures_in_a_row == 1
    sent.refresh_from_db()
    assert sent.retry_count == 1


def two_that_fail_and_one_of_another_worker(failure):
    """This worker's results, and then a success of another one's."""
    RouteFactory()
    messages(3)
    first, second, other = claim()
    results = [failed(each, failure, None, at=NOW) for each in (first, second)]
    write(accepted(other, at=NOW + SECOND))
    return results


def test_a_provider_that_only_this_worker_does_not_reach_is_not_to_blame(
    memory_providers,
):
    results = two_that_fail_and_one_of_another_worker(TIMED_OUT)
    reached = Reach()

    heeded = reached.heed(ended(*results), now=NOW + 2 * SECOND)

    assert {type(done.failure) for _, done in heeded} == {HostFault}
    assert reached.is_aside
    assert "Only this host" in reached.trouble


def test_a_success_of_others_before_this_worker_failed_proves_nothing(memory_providers):
    results = two_that_fail_and_one_of_another_worker(TIMED_OUT)
    later = [
        failed(each.claimed, TIMED_OUT, None, at=NOW + 2 * SECOND) for each in results
    ]
    reached = Reach()

    heeded = reached.heed(ended(*later), now=NOW + 3 * SECOND)

    assert [done.failure for _, done in heeded] == [TIMED_OUT] * 2
    assert not reached.is_aside


def test_no_way_to_one_provider_is_its_own_fault_once_another_is_reached(
    memory_providers,
):
    RouteFactory()
    messages(2)
    first, second = claim()
    failing = ended(failed(first, NO_WAY, None))
    elsewhere = accepted(second).send_result._replace(provider="VonageSMS")
    reached = Reach()

    ((_, before),) = reached.heed(failing, now=NOW)
    reached.heed([(second, elsewhere)], now=NOW + SECOND)
    ((_, after),) = reached.heed(failing, now=NOW + 2 * SECOND)

    assert isinstance(before.failure, HostFault)
    assert before.failure.elsewhere
    assert after.failure is NO_WAY


def test_pauses_grow_until_a_provider_is_reached(memory_providers, monkeypatch):
    pauses = []

    class Stopwatch:
        def __init__(self, interval, **_):
            pauses.append(interval / SECOND)

        def is_over(self):
            return True

    monkeypatch.setattr(reach, "Timer", Stopwatch)
    RouteFactory()
    messages(1)
    (claimed,) = claim()
    reached = Reach()
    lacking = failed(claimed, HostFault("Too many open files"), None)

    for result in [*[lacking] * 8, accepted(claimed), lacking]:
        reached.heed(ended(result), now=NOW)

    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60, 1]


def test_a_worker_that_stood_aside_tries_with_one_message_first(
    memory_providers, monkeypatch
):
    monkeypatch.setattr(reach, "FIRST_PAUSE", timedelta(0))
    RouteFactory(enable_fallback=False)
    messages(20)
    worker = Processor(kind=WorkerKind.COMMAND, clock=lambda: NOW)
    worker._reach.trouble = "TwilioSMS: too many open files"

    worker._claim()

    assert worker._window.messages == 1
    worker.stop()
    worker.run()
    assert worker._allowance() > 1
    assert CampaignMessage.objects.filter(status=MessageStatus.SENT).count() == 1


def test_the_doctor_names_workers_that_stand_aside():
    heartbeat = Heartbeat(owner=1, kind=WorkerKind.COMMAND, clock=timezone.now)
    heartbeat.beat(
        in_flight=0, clock_skew=timedelta(0), trouble="TwilioSMS: no route to host"
    )

    found = workers_aside(timezone.now())

    assert f"{WorkerHeartbeat.objects.get()} (TwilioSMS: no route" in found.text
