"""django-q2's schedules. Those that the cluster must not run are put off.

django-q2's scheduler takes any function and any options from a row. A row that it
cannot read keeps it from all others, and it steps through missed times one by one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django_q.models import Schedule
from django_q.scheduler import scheduler

from messaging.cluster.task_gate import note_refusal, problem_with_function

# A schedule that is overdue for longer does not make up for the times it has missed.
LONG_AGO = timedelta(days=30)
PUT_OFF_BY = timedelta(hours=1)
NOTHING = {None, "", "()", "{}"}


def run_schedules(broker: Any, *, now: datetime) -> None:
    """Queue the tasks of all schedules that are due by this host's clock."""
    due = Schedule.objects.exclude(repeats=0).filter(next_run__lt=now)
    due.filter(next_run__lt=now - LONG_AGO).update(next_run=now - PUT_OFF_BY)
    for schedule in due:
        if problem := problem_with_schedule(schedule):
            note_refusal(f"Schedule {_named(schedule)}", problem)
            again = now + PUT_OFF_BY  # it may be allowed by then
            Schedule.objects.filter(pk=schedule.pk).update(next_run=again)
    scheduler(broker)


def unusable_schedules() -> dict[str, str]:
    """Schedules that are never run, each with the reason."""
    rows = Schedule.objects.exclude(repeats=0)
    found = {_named(row): problem_with_schedule(row) for row in rows}
    return {name: problem for name, problem in found.items() if problem}


def problem_with_schedule(schedule: Schedule) -> str:
    """Why it is not run; "" when it is."""
    parts = ("hook", "args", "kwargs", "intended_date_kwarg")
    if odd := [part for part in parts if getattr(schedule, part) not in NOTHING]:
        return f"it has {', '.join(odd)}, which is not allowed"
    if problem := problem_with_function(schedule.func):
        return problem
    try:
        if schedule.schedule_type != Schedule.ONCE:
            schedule.calculate_next_run(schedule.next_run)
    except Exception as error:  # noqa: BLE001 - its columns may hold anything
        return f"its next time cannot be told ({error})"
    return ""


def _named(schedule: Schedule) -> str:
    return f"{schedule.pk} ({schedule.func!r})"
