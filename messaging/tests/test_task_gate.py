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
from django_q.tasks import AsyncTask, Chain, async_iter, async_task
from picklefield.fields import PickledObject

from marketing_platform.audit.models import AuditEvent
from messaging.cluster.broker import DatabaseBroker
from messaging.cluster.schedules import problem_with_schedule, run_schedules
from messaging.cluster.task_gate import (
    DRAIN_TASK,
    RefusedTask,
    opened,
    plain_value,
    problem_with_task,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


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


def due_schedule(**fields):
    fields = {"schedule_type": Schedule.MINUTES, "minutes": 1} | fields
    return Schedule.objects.create(**{"next_run": NOW - MINUTE} | fields)


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
    {"timeout": None},
    {"args": "ls"},
    {"kwargs": [1]},
    {"name": 7},
    {"id": None},
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


@pytest.mark.parametrize(
    "fields",
    [
        {"func": "os.system", "args": "'true'"},
        {"func": "builtins.eval", "args": "'1'"},
        {"func": "lambda: 1"},
        {"func": "x" * 256},
        {"func": DRAIN_TASK, "hook": "os.system"},
        {"func": DRAIN_TASK, "kwargs": "hook='os.system'"},
        {"func": DRAIN_TASK, "kwargs": "{'q_options': {'hook': 'os.system'}}"},
        {"func": DRAIN_TASK, "kwargs": "q_options={'sync': True}"},
        {"func": DRAIN_TASK, "kwargs": "sync=True"},
        {"func": DRAIN_TASK, "kwargs": "broker='x'"},
        {"func": DRAIN_TASK, "kwargs": "q_options={'broker_name': 'x'}"},
        {"func": DRAIN_TASK, "kwargs": "chain=[('os.system', ('true',))]"},
        {"func": DRAIN_TASK, "intended_date_kwarg": "hook"},
        {"func": DRAIN_TASK, "kwargs": "5"},
        {"func": DRAIN_TASK, "kwargs": "{1: 2}"},
        {"func": DRAIN_TASK, "kwargs": "**x"},
        {"func": DRAIN_TASK, "kwargs": "x=__import__('os')"},
        {"func": DRAIN_TASK, "args": "__import__('os').system('true')"},
        {"func": DRAIN_TASK, "args": "(" * 9000},
        {"func": DRAIN_TASK, "args": "1, 2" * 9000},
        {"func": DRAIN_TASK, "args": "{[]: 1}"},
        {"func": DRAIN_TASK, "schedule_type": "ZZ"},
        {"func": DRAIN_TASK, "schedule_type": Schedule.CRON, "cron": "* * * * *"},
    ],
    ids=lambda fields: str(fields)[:60],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::RuntimeWarning")
def test_a_schedule_that_is_not_allowed_stops_no_other(broker, fields):
    Schedule.objects.all().delete()
    known = set()
    (bad,) = Schedule.objects.bulk_create(
        [Schedule(**{"next_run": NOW - MINUTE} | fields)]
    )
    due_schedule(func=DRAIN_TASK, name="ours")

    assert run_schedules(broker, now=NOW, known=known) == 1
    assert run_schedules(broker, now=NOW, known=known) == 0

    assert [opened(each.payload)["group"] for each in OrmQ.objects.all()] == ["ours"]
    refusals = AuditEvent.objects.filter(action="refuse task")
    assert refusals.count() == 1  # and not twice a minute
    assert Schedule.objects.filter(pk=bad.pk).exists()  # as evidence


@pytest.mark.parametrize("kwargs", ["", "q_options={'sync': True}", "sync=True"])
def test_django_q2s_own_scheduler_could_not_run_it_either(
    broker, trace, kwargs, monkeypatch
):
    monkeypatch.setattr(  # it would close the test's
        "django_q.scheduler.close_old_django_connections", lambda: None
    )
    due_schedule(
        func="os.system",
        args=f"'touch {trace}'",
        kwargs=kwargs,
        next_run=timezone.now(),
    )

    scheduler(broker)

    assert not trace.exists()
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({}, (-1, NOW + MINUTE)),
        ({"repeats": 3}, (2, NOW + MINUTE)),
        ({"repeats": 1}, (0, NOW + MINUTE)),
        ({"schedule_type": Schedule.HOURLY}, (-1, NOW + 59 * MINUTE)),
        ({"schedule_type": Schedule.ONCE, "repeats": 2}, (0, NOW - MINUTE)),
    ],
)
def test_a_schedule_runs_at_its_next_slot_after_now(broker, fields, left):
    Schedule.objects.all().delete()
    due_schedule(func=DRAIN_TASK, **fields)

    assert run_schedules(broker, now=NOW, known=set()) == 1

    row = Schedule.objects.get()
    assert (row.repeats, row.next_run) == left
    assert OrmQ.objects.count() == 1


def test_a_schedule_that_missed_all_slots_of_two_thousand_years_goes_on(broker):
    Schedule.objects.all().delete()
    row = due_schedule(func=DRAIN_TASK)
    Schedule.objects.update(next_run=datetime(1, 1, 2, tzinfo=UTC))

    run_schedules(broker, now=NOW, known=set())

    row.refresh_from_db()
    assert row.next_run == NOW + MINUTE


def test_what_runs_once_is_gone_after_it(broker):
    Schedule.objects.all().delete()
    due_schedule(func=DRAIN_TASK, schedule_type=Schedule.ONCE)

    run_schedules(broker, now=NOW, known=set())

    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({"args": "3, 4"}, ((3, 4), {})),
        ({"args": "[3]"}, (([3],), {})),
        ({"args": "'a'", "kwargs": "x=1, y='z'"}, (("a",), {"x": 1, "y": "z"})),
        ({"kwargs": "{'x': [1]}"}, ((), {"x": [1]})),
    ],
)
def test_arguments_of_ones_own_tasks_arrive(broker, settings, fields, arguments):
    settings.QCLUSTER_TASKS = ["shop.tasks.sync"]
    Schedule.objects.all().delete()
    assert not problem_with_schedule(due_schedule(func="shop.tasks.sync", **fields))

    run_schedules(broker, now=NOW, known=set())

    made = opened(OrmQ.objects.get().payload)
    assert (made["args"], made["kwargs"]) == arguments


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
