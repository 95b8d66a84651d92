"""What the django-q2 cluster runs: the functions of a list, and nothing else.

A task names its function, and django-q2 calls whatever is named. Rows of schedules are
plain text and rows of finished tasks unsigned pickles, so that writing to the database
would be running code as the worker. Here are the conditions that all tasks must meet,
when one is made (`pre_enqueue`) and when the broker hands one out. Finished tasks are
read without unpickling anything but plain values.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import io
import logging
import pickle
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

from django.conf import settings
from django.dispatch import receiver
from django_q.models import Task
from django_q.signals import pre_enqueue
from django_q.signing import SignedPackage
from picklefield.fields import PickledObject

from routing.signals import report

logger = logging.getLogger(__name__)

DRAIN_TASK = "messaging.tasks.drain_queue"
CANARY_TASK = "messaging.tasks.do_nothing"
OWN_TASKS = frozenset({DRAIN_TASK, CANARY_TASK})

# What a task may consist of. Missing: `hook` and `chain`, which name more functions;
# `sync`, which runs it on the spot; `cached` and `iter_...`, which store more pickles;
# `timeout`, which would let it hold a worker for ever.
PARTS = frozenset(
    {"id", "name", "func", "args", "kwargs", "started"}
    | {"group", "cluster", "save", "ack_failure"}
)
NEEDED = ("id", "name", "func", "args", "kwargs")
LONGEST_NAME = 100
# Finished tasks: results that are longer, or hold more, are not looked at.
LONGEST_PICKLE = 100_000
MOST_PARTS = 100
LARGEST_NUMBER = 2**63


class RefusedTask(ValueError):
    """The cluster does not run this task; the text says why."""


def problem_with_function(name: object) -> str:
    """Why the cluster does not run it; "" when it does."""
    if isinstance(name, str) and name in OWN_TASKS.union(settings.QCLUSTER_TASKS):
        return ""
    return f"{_shown(name)} is not among the tasks that the cluster runs"


def problem_with_task(task: object) -> str:
    """Why the cluster does not run this task; "" when it does."""
    if not isinstance(task, dict):
        return f"a {type(task).__name__} is no task"
    if missing := [name for name in NEEDED if name not in task]:
        return f"it has no {', '.join(missing)}"
    if odd := [_shown(name) for name in task if name not in PARTS and task[name]]:
        return f"it has {', '.join(odd)}, which is not allowed"
    return problem_with_function(task["func"])


def opened(payload: Any) -> dict[str, Any]:
    """The task in what a broker hands out; RefusedTask says why it is not run.

    Only what our key has signed is unpickled.
    """
    try:
        text = payload.decode() if isinstance(payload, bytes) else payload
        task = SignedPackage.loads(text)
    except Exception as error:  # noqa: BLE001 - it may hold anything
        problem = f"it is not signed with our key ({type(error).__name__})"
        raise RefusedTask(problem) from None
    if problem := problem_with_task(task):
        raise RefusedTask(problem)
    return dict(task)


def note_refusal(what: str, problem: str) -> None:
    """Keep it on record, for somebody to look at: this may be an attack."""
    logger.error("%s was not run: %s.", what, problem)
    report("refuse task", what=what, why=problem)


@receiver(pre_enqueue)
def check_before_it_is_queued(task: dict[str, Any], **_: Any) -> None:
    """Refuse it where it is made, also if it would run on the spot."""
    if inspect.isfunction(task["func"]):
        task["func"] = f"{task['func'].__module__}.{task['func'].__qualname__}"
    if problem := problem_with_task(task):
        raise RefusedTask(f"{_shown(task['func'])}: {problem}.")


class _Unpickler(pickle.Unpickler):
    """Makes plain values, and calls nothing."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def plain_value(stored: Any) -> Any:
    """A stored pickle's value if that is plain, else the pickle as it is stored."""
    if not isinstance(stored, str) or len(stored) > LONGEST_PICKLE:
        return stored
    try:
        raw = base64.b64decode(stored, validate=True)
        value = _Unpickler(io.BytesIO(raw)).load()
    except (binascii.Error, ValueError):
        return stored
    except Exception:  # noqa: BLE001 - whatever somebody may have written there
        return stored
    return value if _is_plain(value) else stored


def _is_plain(value: object) -> bool:
    """Numbers and texts, or a collection of them and of flat collections."""
    parts = [*islice(_parts(value, depth=2), MOST_PARTS + 1)]
    return len(parts) <= MOST_PARTS and all(map(_is_single, parts))


def _parts(value: object, *, depth: int) -> Iterator[object]:
    if depth and isinstance(value, Mapping):
        value = [*value, *value.values()]
    if not depth or not isinstance(value, list | tuple):
        yield value
        return
    for each in value:
        yield from _parts(each, depth=depth - 1)


def _is_single(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) < LARGEST_NUMBER
    return value is None or isinstance(value, str | float)


def _shown(value: object) -> str:
    return f"{value}"[:LONGEST_NAME] if isinstance(value, str) else type(value).__name__


def read_finished_tasks_safely() -> None:
    """Called at start-up: django-q2 would unpickle whatever stands in the table."""
    field = type(Task._meta.get_field("result"))
    # Of the class, so that what else an installation pickles is read so as well.
    field.to_python = lambda _, stored: _kept(stored)


def _kept(stored: Any) -> Any:
    """As `plain_value`; what stays a pickle is marked, to be saved as it was."""
    value = plain_value(stored)
    is_pickle = value is stored and isinstance(stored, str)
    return PickledObject(stored) if is_pickle else value
