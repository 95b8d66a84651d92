"""django-q2's schedules: what is due becomes a task, if the cluster may run it.

In place of django-q2's own scheduler, which takes any function and options from a row,
and which one row that it cannot read keeps from looking at all others.
"""

from __future__ import annotations

import ast
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django_q.conf import Conf
from django_q.models import Schedule
from django_q.tasks import async_task

from messaging.cluster.task_gate import (
    RefusedTask,
    note_refusal,
    problem_with_function,
)

LONGEST_ARGUMENTS = 10_000  # letters
UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
# Slots that were missed are stepped over one by one; beyond these it begins anew.
MOST_SLOTS = 1000
# What django-q2 takes from the arguments of a call for itself.
NOT_ARGUMENTS = {"hook", "group", "save", "sync", "cached", "ack_failure", "chain"}
NOT_ARGUMENTS |= {"broker", "broker_name", "cluster", "timeout", "q_options"}
NOT_ARGUMENTS |= {"task_name", "iter_count", "iter_cached"}


def run_schedules(broker: Any, *, now: datetime, known: set[str]) -> int:
    """Queue the tasks of all schedules that are due; how many these were.

    Of a schedule that is refused, `known` remembers it, so that it is told once.
    """
    count = 0
    with transaction.atomic():
        for schedule in _due(now).select_for_update(skip_locked=True):
            count += _run(schedule, broker, now, known)
    return count


def unusable_schedules() -> dict[str, str]:
    """Schedules that will never run, each with the reason."""
    rows = Schedule.objects.exclude(repeats=0)
    found = {_named(row): problem_with_schedule(row) for row in rows}
    return {name: problem for name, problem in found.items() if problem}


def problem_with_schedule(schedule: Schedule) -> str:
    """Why it is not run; "" when it is."""
    if schedule.hook:
        return "it has a hook, which is not allowed"
    if problem := problem_with_function(schedule.func):
        return problem
    try:
        arguments_of(schedule)
    except RefusedTask as refusal:
        return str(refusal)
    return ""


def arguments_of(schedule: Schedule) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What its function is called with; RefusedTask when that cannot be read."""
    args = _literal(schedule.args) if schedule.args else ()
    kwargs = _keywords(schedule.kwargs or "")
    if schedule.intended_date_kwarg and schedule.next_run:
        kwargs[schedule.intended_date_kwarg] = schedule.next_run.isoformat()
    if odd := sorted(NOT_ARGUMENTS & kwargs.keys()):
        raise RefusedTask(f"it has {', '.join(odd)}, which is not allowed")
    return (args if isinstance(args, tuple) else (args,)), kwargs


def _due(now: datetime) -> QuerySet[Schedule]:
    ours = Q(cluster=Conf.CLUSTER_NAME)
    if Conf.CLUSTER_NAME == Conf.PREFIX:
        ours |= Q(cluster=None)
    due: QuerySet[Schedule] = Schedule.objects.exclude(repeats=0)
    return due.filter(ours, next_run__lt=now)


def _run(schedule: Schedule, broker: Any, now: datetime, known: set[str]) -> bool:
    problem = problem_with_schedule(schedule)
    if not problem:
        try:
            _queue(schedule, broker, now)
        except RefusedTask as refusal:
            problem = str(refusal)
    if problem and (name := _named(schedule)) not in known:
        known.add(name)
        note_refusal(f"Schedule {name}", problem)
    return not problem


def _queue(schedule: Schedule, broker: Any, now: datetime) -> None:
    args, kwargs = arguments_of(schedule)
    next_run = _next_run(schedule, now)
    options = {"group": schedule.name or schedule.pk, "broker": broker}
    schedule.task = async_task(schedule.func, *args, q_options=options, **kwargs)
    _advance(schedule, next_run)


def _advance(schedule: Schedule, next_run: datetime | None) -> None:
    """Its next time; one that runs once is over, and goes."""
    if next_run is None and schedule.repeats < 0:
        schedule.delete()
        return
    if next_run is None:
        schedule.repeats = 0
    else:
        schedule.next_run = next_run
        schedule.repeats = schedule.repeats - 1 if schedule.repeats > 0 else -1
    schedule.save(update_fields=["task", "next_run", "repeats"])


def _next_run(schedule: Schedule, now: datetime) -> datetime | None:
    """The first slot after now; None for what runs once."""
    if schedule.schedule_type == Schedule.ONCE:
        return None
    try:
        slot: datetime = schedule.next_run
        for _ in range(MOST_SLOTS):
            slot = schedule.calculate_next_run(slot)
            if slot > now:
                return slot
        return schedule.calculate_next_run(now)  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - its columns may hold anything
        raise RefusedTask(f"its next time cannot be told ({error})") from None


def _keywords(text: str) -> dict[str, Any]:
    """Written as a dictionary, or as in a call: `x=1, y="z"`."""
    if not text.strip():
        return {}
    if not text.lstrip().startswith("{"):
        return _words(text)
    found = _literal(text)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise RefusedTask("its keyword arguments cannot be read")
    return found


def _words(text: str) -> dict[str, Any]:
    try:
        call = ast.parse(f"f({_short(text)})", mode="eval").body
        words = call.keywords if isinstance(call, ast.Call) and not call.args else []
        found = {word.arg: ast.literal_eval(word.value) for word in words}
    except UNREADABLE:
        raise RefusedTask("its keyword arguments cannot be read") from None
    if not found or None in found:  # `**more` has no name
        raise RefusedTask("its keyword arguments cannot be read")
    return {str(name): value for name, value in found.items()}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(_short(text).strip())
    except UNREADABLE:
        raise RefusedTask("its arguments cannot be read") from None


def _short(text: str) -> str:
    if len(text) > LONGEST_ARGUMENTS:
        raise RefusedTask("its arguments are too long")
    return text


def _named(schedule: Schedule) -> str:
    return f"{schedule.pk} ({schedule.func!r})"
