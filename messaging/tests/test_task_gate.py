"""The cluster runs the functions on a list and nothing else, however a task arrives.

Each attack leaves a file if it gets through.
"""

from __future__ import annotations

import base64
import os
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from django.core import signing
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success, Task
from django_q.scheduler import scheduler
from django_q.signing import PickleSerializer, SignedPackage
from django_q.tasks import AsyncTask, Chain, async_iter, async_task, schedule
from picklefield.fields import PickledObject

from marketing_platform.audit.models import AuditEvent
from messaging.cluster.broker import DatabaseBroker
from messaging.cluster.schedules import run_schedules, unusable_schedules
from messaging.cluster.task_gate import (
    DRAIN_TASK,
    RefusedTask,
    opened,
    plain_value,
    problem_with_task,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def broker():
    return DatabaseBroker("messages")


@pytest.fixture
def trace(tmp_path):
    """The file that an attack creates."""
    return tmp_path / "trace"


def task(**parts):
    whole = {"id": "1", "name": "x", "func": DRAIN_TASK, "args": (), "kwargs": {}}
    return whole | {"started": NOW} | parts


class Bomb:
    """Unpickling this creates the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def queued(payload):
    return OrmQ.objects.create(key="messages", payload=payload, lock=NOW)


ATTACKS = [
    {"func": "os.system"},
    {"func": "builtins.eval"},
    {"func": "lambda: 1"},
    {"func": " messaging.tasks.drain_queue"},
    {"func": "messaging.tasks.signal.os.system"},
    {"func": "django.core.management.call_command"},
    {"func": os.system},
    {"hook": "os.system"},
    {"chain": [("os.system", ("true",), {})]},
    {"sync": True},
    {"cached": True},
    {"iter_count": 2},
    {"broker": "x"},
    {"timeout": 10**9},
    {"func": None},
]


@pytest.mark.parametrize("parts", ATTACKS, ids=str)
def test_a_signed_task_that_is_not_allowed_is_thrown_away(broker, parts, caplog):
    queued(SignedPackage.dumps(task(**parts)))

    assert not broker.dequeue()

    assert not OrmQ.objects.exists()
    assert "was not run" in caplog.text
    assert AuditEvent.objects.get().action == "refuse task"


@pytest.mark.parametrize("content", [[], "text", 7, None, {}, {"func": DRAIN_TASK}])
def test_what_is_signed_and_no_task_is_thrown_away(broker, content):
    queued(SignedPackage.dumps(content))

    assert not broker.dequeue()
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("payload", ["", "x", "a:b:c", "\u20ac:1:2", "...." * 9999])
def test_what_is_not_signed_is_not_even_unpickled(broker, payload, trace):
    unsigned = base64.b64encode(pickle.dumps(Bomb(trace))).decode()
    for each in (payload, unsigned, f"{unsigned}:1a:forged"):
        queued(each)
        assert not broker.dequeue()

    assert not trace.exists()
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("signed_as", [{"salt": "unsubscribe"}, {"key": "another"}])
def test_what_was_signed_for_another_purpose_is_refused(broker, signed_as, trace):
    payload = signing.dumps(
        Bomb(trace), **{"salt": "messages"} | signed_as, serializer=PickleSerializer
    )
    queued(payload)

    assert not broker.dequeue()
    assert not trace.exists()


def test_a_refused_task_does_not_hold_up_the_next(broker):
    queued(SignedPackage.dumps(task(func="os.system")))
    queued(SignedPackage.dumps(task()))

    handed_out = [*(broker.dequeue() or []), *(broker.dequeue() or [])]

    assert [opened(payload)["func"] for _, payload in handed_out] == [DRAIN_TASK]


@pytest.mark.parametrize("way", [async_task, lambda *a: AsyncTask(*a).run()])
def test_a_task_is_refused_where_it_is_made(way, trace):
    with pytest.raises(RefusedTask, match="not among the tasks that the cluster runs"):
        way("os.system", f"touch {trace}")

    assert not OrmQ.objects.exists()


def test_chains_groups_and_tasks_on_the_spot_are_refused(trace):
    for way in (
        lambda: async_task("os.system", f"touch {trace}", sync=True),
        lambda: async_task(DRAIN_TASK, sync=True),
        lambda: async_iter("os.system", [f"touch {trace}"]),
        lambda: Chain([("os.system", (f"touch {trace}",))]).run(),
    ):
        with pytest.raises(RefusedTask):
            way()

    assert not trace.exists()


def test_functions_of_ones_own_run_when_the_settings_name_them(broker, settings):
    settings.QCLUSTER_TASKS = ["math.hypot"]
    async_task("math.hypot", 3, 4, broker=broker)

    ((_, payload),) = broker.dequeue()

    assert opened(payload)["args"] == (3, 4)


@pytest.fixture
def run(broker, monkeypatch):
    """Looks at the schedules, as a cluster does now and then."""
    monkeypatch.setattr(  # it would close the test's
        "django_q.scheduler.close_old_django_connections", lambda: None
    )
    Schedule.objects.all().delete()
    return lambda: run_schedules(broker, now=timezone.now())


def due_schedule(**fields):
    fields = {"schedule_type": Schedule.MINUTES, "minutes": 1} | fields
    return Schedule.objects.create(**{"next_run": timezone.now() - SECOND} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"func": "os.system"},
        {"func": "os.system", "args": "'true'"},
        {"func": "lambda: 1"},
        {"func": "x" * 256},
        {"func": DRAIN_TASK, "args": "1"},
        {"func": DRAIN_TASK, "args": "__import__('os').system('true')"},
        {"func": DRAIN_TASK, "kwargs": "q_options={'sync': True}"},
        {"func": DRAIN_TASK, "kwargs": "chain=[('os.system', ('true',))]"},
        {"func": DRAIN_TASK, "hook": "os.system"},
        {"func": DRAIN_TASK, "intended_date_kwarg": "hook"},
        {"func": DRAIN_TASK, "schedule_type": "ZZ"},
        {"func": DRAIN_TASK, "schedule_type": Schedule.CRON, "cron": "* * * * *"},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_a_schedule_that_is_not_allowed_stops_no_other(run, fields):
    values = {"next_run": timezone.now() - MINUTE} | fields
    (bad,) = Schedule.objects.bulk_create([Schedule(**values)])
    due_schedule(func=DRAIN_TASK, name="ours")

    run()
    run()

    assert [opened(each.payload)["group"] for each in OrmQ.objects.all()] == ["ours"]
    told = AuditEvent.objects.filter(action="refuse task")
    assert told.count() == 1  # and not each time
    assert Schedule.objects.filter(pk=bad.pk).exists()  # as evidence
    assert list(unusable_schedules()) == [f"{bad.pk} ({bad.func!r})"]


@pytest.mark.parametrize("kwargs", ["", "q_options={'sync': True}", "sync=True"])
def test_django_q2s_own_scheduler_could_not_run_it_either(broker, run, trace, kwargs):
    due_schedule(func="os.system", args=f"'touch {trace}'", kwargs=kwargs)

    scheduler(broker)

    assert not trace.exists()
    assert not OrmQ.objects.exists()


def test_a_schedule_runs_again_at_its_next_time(run):
    due_schedule(func=DRAIN_TASK)

    run()
    run()

    assert OrmQ.objects.count() == 1
    assert Schedule.objects.get().next_run > timezone.now()


def test_a_schedule_that_missed_all_slots_of_two_thousand_years_goes_on(run):
    due_schedule(func=DRAIN_TASK)
    Schedule.objects.update(next_run=datetime(1, 1, 2, tzinfo=UTC))

    run()

    assert OrmQ.objects.count() == 1
    assert Schedule.objects.get().next_run > timezone.now()


def test_a_schedule_of_ones_own_runs_when_the_settings_name_its_function(run, settings):
    settings.QCLUSTER_TASKS = ["shop.tasks.sync"]
    schedule("shop.tasks.sync")

    run()

    assert opened(OrmQ.objects.get().payload)["func"] == "shop.tasks.sync"
    assert not Schedule.objects.exists()


@pytest.mark.parametrize("column", ["args", "kwargs", "result"])
@pytest.mark.parametrize("model", [Task, Success, Failure])
def test_reading_finished_tasks_unpickles_nothing(trace, column, model):
    stored = base64.b64encode(pickle.dumps(Bomb(trace))).decode()
    Task.objects.create(
        id="1",
        name="x",
        func=DRAIN_TASK,
        started=NOW,
        stopped=NOW,
        success=model is not Failure,
        **{column: PickledObject(stored)},
    )

    row = model.objects.get()
    row.name = "y"
    row.save()
    row.refresh_from_db()

    assert not trace.exists()
    assert getattr(row, column) == stored


@pytest.mark.parametrize(
    "value",
    [
        "text",
        7,
        1.5,
        None,
        {"sent": 3},
        [1, 2],
        (),
        {"ended": {"Expired.": 1}, "a": []},
    ],
)
def test_plain_results_are_shown(value):
    assert plain_value(base64.b64encode(pickle.dumps(value)).decode()) == value


def test_a_pickle_that_grows_when_it_is_shown_stays_a_pickle():
    laughs = []
    for _ in range(60):
        laughs = [laughs, laughs]
    stored = base64.b64encode(pickle.dumps(laughs)).decode()

    assert plain_value(stored) == stored
    wide = [[0] * 1000] * 1000
    assert plain_value(base64.b64encode(pickle.dumps(wide)).decode()) != wide
    assert plain_value(base64.b64encode(pickle.dumps(10**9999)).decode()) != 10**9999


def test_our_own_packages_pass():
    assert problem_with_task(task(save=False, ack_failure=True, group=None)) == ""
