"""When the cluster gets a drain task, and which one."""

from __future__ import annotations

import socket
import uuid
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from messaging.cluster.broker import DRAIN_TASK, DatabaseBroker
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import WorkerHeartbeat
from messaging.vocabulary import CampaignStatus, WorkerKind
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def broker():
    return DatabaseBroker("messages")


def due_message(**fields):
    return MessageFactory(**fields)


def heartbeat(*, age=timedelta(0), kind=WorkerKind.CLUSTER, host=None):
    """A worker on this host whose last heartbeat was `age` ago."""
    now = timezone.now()
    return WorkerHeartbeat.objects.create(
        owner=uuid.uuid4().int >> 66,
        kind=kind,
        host=host or socket.gethostname(),
        pid=1,
        started_at=now - age,
        beat_at=now - age,
    )


def emitted(broker):
    """The functions that the broker has run, in order."""
    return [SignedPackage.loads(package)["func"] for _, package in handed_out(broker)]


def handed_out(broker):
    return broker.dequeue() or []


def test_a_due_message_emits_one_drain_task(broker):
    due_message()
    due_message()

    assert emitted(broker) == [DRAIN_TASK]


def test_a_second_look_emits_nothing_until_the_drain_had_time_to_start(broker):
    due_message()
    emitted(broker)

    assert emitted(broker) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"due_at": timezone.now() + timedelta(hours=1)},
        {"status": MessageStatus.SENT},
        {"status": MessageStatus.FAILED},
    ],
    ids=["scheduled", "sent", "failed"],
)
def test_a_message_that_is_not_due_emits_nothing(broker, fields):
    due_message(**fields)

    assert emitted(broker) == []


@pytest.mark.parametrize(
    "status", [each for each in CampaignStatus if each != CampaignStatus.RUNNING]
)
def test_a_campaign_that_is_not_running_emits_nothing(broker, status):
    due_message(campaign=CampaignFactory(status=status))

    assert emitted(broker) == []


def test_an_empty_queue_emits_nothing(broker):
    assert emitted(broker) == []


def test_an_expired_lease_is_work_too(broker):
    expired = timezone.now() - SECOND
    due_message(status=MessageStatus.SENDING, lease_expires_at=expired)

    assert emitted(broker) == [DRAIN_TASK]


def test_a_lease_that_runs_is_no_work(broker):
    runs = timezone.now() + timedelta(minutes=1)
    due_message(status=MessageStatus.SENDING, lease_expires_at=runs)

    assert emitted(broker) == []


def test_a_drain_that_is_alive_is_enough(broker):
    due_message()
    heartbeat()

    assert emitted(broker) == []


def test_a_drain_that_has_fallen_silent_is_replaced(broker):
    due_message()
    heartbeat(age=WorkerHeartbeat.STALE_AFTER + SECOND)

    assert emitted(broker) == [DRAIN_TASK]


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "another-host"}, {"kind": WorkerKind.COMMAND}],
    ids=["another host", "process_queue"],
)
def test_other_workers_leave_room_for_this_cluster_except_on_sqlite(broker, elsewhere):
    due_message()
    heartbeat(**elsewhere)

    is_shared = connection.vendor == "postgresql"
    assert emitted(broker) == ([DRAIN_TASK] if is_shared else [])


def test_ordinary_tasks_come_first_and_as_they_were(broker, settings):
    settings.QCLUSTER_TASKS = ["math.hypot"]
    due_message()
    async_task("math.hypot", 3, 4, broker=broker)

    assert emitted(broker) == ["math.hypot"]
    assert emitted(broker) == [DRAIN_TASK]


def test_a_drain_task_is_complete_and_its_function_exists(broker):
    due_message()

    ((ack_id, package),) = handed_out(broker)

    task = SignedPackage.loads(package)
    assert ack_id is None  # there is nothing to acknowledge
    assert callable(import_string(task["func"]))
    assert (task["args"], task["kwargs"]) == ((), {})
    assert {"id", "name", "started"} <= set(task)
    assert task["save"] is False


def test_a_drain_task_is_stored_nowhere(broker):
    due_message()

    handed_out(broker)

    assert OrmQ.objects.count() == 0


def test_two_drain_tasks_are_not_taken_for_the_same_one():
    due_message()

    packages = [handed_out(DatabaseBroker("messages"))[0][1] for _ in range(2)]

    assert len({SignedPackage.loads(package)["id"] for package in packages}) == 2


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_fails_is_looked_at_again_later(broker, error):
    due_message()

    with messages_that_fail(error):
        assert emitted(broker) == []
    assert emitted(broker) == [DRAIN_TASK]


@contextmanager
def messages_that_fail(error):
    """Each query of campaigns and messages raises this."""

    def fail(execute, sql, *rest):
        if "messaging_campaign" in sql:
            raise error("the server closed the connection")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail):
        yield


def test_the_backstop_drains_every_minute_for_ever():
    # As the migration does; its rows may be gone after a test that flushes.
    import_module("messaging.migrations.0002_drain_schedule").create(apps, None)
    schedule = Schedule.objects.get(func=DRAIN_TASK)

    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 1)
    assert schedule.repeats == -1
    assert schedule.next_run <= timezone.now()
    assert callable(import_string(schedule.func))
