"""Read-only screens for the tables of django-q2, because a task is code that runs.

Its own screens let people write schedules, run finished tasks again, and unpickle the
rows' contents.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django_q.models import Failure, OrmQ, Schedule, Success
from picklefield.fields import PickledObject

from messaging.cluster.schedules import problem_with_schedule
from messaging.cluster.task_gate import RefusedTask, opened
from routing.admin.bases import ReadOnlyAdmin, clipped

WHOLE_RESULT = 2000  # characters of a traceback
for model in (Failure, OrmQ, Schedule, Success):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """The cluster's schedules, and why it refuses some."""

    is_small = True
    list_display = ["name", "func", "schedule_type", "repeats", "next_run", "problem"]
    fields = (
        *("name", "func", "args", "kwargs", "schedule_type", "minutes", "cron"),
        *("repeats", "next_run", "cluster", "problem"),
    )

    @admin.display(description="not run because")
    def problem(self, schedule: Schedule) -> str:
        """Why the cluster refuses to run it, if it does."""
        problem = clipped(problem_with_schedule(schedule), 60)
        return problem or self.get_empty_value_display()


@admin.register(OrmQ)
class QueueAdmin(ReadOnlyAdmin):
    """Tasks waiting for the cluster, as far as readable without running code."""

    list_display = ["id", "key", "lock", "content"]
    fields = ("key", "lock", "content")

    @admin.display(description="task")
    def content(self, row: OrmQ) -> str:
        """Its function, or why it will be refused."""
        try:
            return str(opened(row.payload)["func"])
        except RefusedTask as refusal:
            return f"not run: {refusal}"


class FinishedAdmin(ReadOnlyAdmin):
    """Without arguments and results, which are pickled, except plain results."""

    is_small = True  # messages are no tasks; few others are run
    list_display = ["name", "func", "started", "stopped", "group"]
    fields = ("name", "func", "group", "cluster", "started", "stopped", "outcome")
    search_fields = ["=name", "=func"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Success]:
        """Without reading the arguments."""
        return super().get_queryset(request).defer("args", "kwargs")

    @admin.display(description="result")
    def outcome(self, task: Success) -> str:
        """The result or the error, if it is a plain value."""
        return clipped(_in_words(task.result), WHOLE_RESULT)


def _in_words(result: object) -> str:
    if isinstance(result, PickledObject):
        return "not shown: not a plain number or text"
    if isinstance(result, Mapping):
        listed = (f"{name} {_in_words(each)}" for name, each in result.items())
        return ", ".join(listed) or "none"
    return f"{result}"


admin.site.register(Success, FinishedAdmin)
admin.site.register(Failure, FinishedAdmin)
