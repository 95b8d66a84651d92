"""The django-q2 brokers: they derive drain tasks from the message table.

A wake-up that is a row or a notification can be lost. These brokers look at the
messages themselves: while any are due, and no worker is at it, the cluster is handed a
drain task. Nothing about that task is stored, so nothing can be lost, doubled or left
over.

From time to time they also hand out a canary, a task that does nothing. It has passed
the pusher, a worker and the monitor when it is acknowledged; then the cluster is alive.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from multiprocessing import Value, parent_process
from typing import Any, ClassVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.signing import SignedPackage

from messaging.cluster.ending import WATCHED_VARIABLE, is_watchdog_gone, watch_in_forks
from messaging.cluster.schedules import run_schedules
from messaging.cluster.task_gate import (
    CANARY_TASK,
    DRAIN_TASK,
    RefusedTask,
    note_refusal,
    opened,
)
from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.queue.clock import database_now
from messaging.queue_status import is_work_waiting
from messaging.vocabulary import WorkerKind
from routing.timer import Timer

logger = logging.getLogger(__name__)

CANARY = "canary"  # in place of an acknowledgement's id
# As a share of the time in which the watchdog wants to see one.
CANARY_SHARE = 0.25
# A canary that has not come back for this long is given up, and the next one let fly.
# Until then there is one at a time: more would fill the queue while all workers drain.
CANARY_LOST_AFTER = timedelta(seconds=90)
# How often schedules are looked at.
SCHEDULES_EVERY = timedelta(seconds=15)
# Time enough for a drain to start and show its heartbeat.
EMIT_EVERY = timedelta(seconds=2)
# A pusher asks several times a second; one that has not for this long is gone, or has
# nowhere to put a task.
PUSHER_SILENT_SECONDS = 2.0
# Shared by the cluster's processes, which are forks of one that has this module.
_asked_at = Value("d", 0.0)
_canary_due_at = Value("d", 0.0)  # on the monotonic clock

Tasks = list[tuple[Any, str]]

watch_in_forks()  # the cluster's first process makes a broker, then forks the others


class DrainsWhenDue:
    """Adds drain tasks to what a broker hands out; called by django-q2's pusher.

    What the cluster must not run is not handed out, but logged and thrown away.
    """

    _emit_timer: Timer | None = None
    _schedule_timer: Timer | None = None
    _is_leaving = False
    # Of all brokers in this process: told once.
    _refused_schedules: ClassVar[set[str]] = set()

    def ping(self) -> bool:
        """Called by the cluster's guard before it starts the other processes.

        When the whole process group gets SIGTERM, as systemd sends it, the guard would
        die with a lock in its hands that the cluster then waits for, for ever. It is
        the cluster's first process that stops the others, in order; they ignore the
        signal, but for a drain, which takes it as a hint to hurry.
        """
        if parent_process() is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return bool(super().ping())  # type: ignore[misc]

    def dequeue(self) -> Tasks | None:
        """The broker's own tasks, else a drain task when there is work for one."""
        if parent_process() is not None:  # within a cluster
            _asked_at.value = time.monotonic()
            self._leave_without_watchdog()
            if _is_canary_due():
                _put_canary_off(CANARY_LOST_AFTER)
                return [(CANARY, _package("look for life", CANARY_TASK))]
            self._look_at_schedules()
        if tasks := super().dequeue():  # type: ignore[misc]
            return [task for task in tasks if self._is_allowed(*task)]
        if self._emit_timer is None:
            self._emit_timer = Timer(EMIT_EVERY, is_over=True)
        if not self._emit_timer.is_over() or not _needs_drain():
            return None
        self._emit_timer.restart()
        return [(None, _package("drain the queue", DRAIN_TASK))]

    def _is_allowed(self, ack_id: Any, payload: Any) -> bool:
        """Whether the cluster may run it; if not, it is off the queue for good."""
        try:
            opened(payload)
        except RefusedTask as refusal:
            self.fail(ack_id)  # type: ignore[attr-defined]
            with _surviving("A refused task could not be put on record."):
                note_refusal(f"Queued task {ack_id or ''}".strip(), f"{refusal}")
            return False
        return True

    def _look_at_schedules(self) -> None:
        """Queue what is due. Here, for django-q2's own scheduler takes anything."""
        if self._schedule_timer is None:
            self._schedule_timer = Timer(SCHEDULES_EVERY, is_over=True)
        if self._schedule_timer.is_over():
            self._schedule_timer.restart()
            with _surviving("The schedules could not be looked at."):
                close_old_connections()
                run_schedules(self, now=database_now(), known=self._refused_schedules)

    def acknowledge(self, task_id: Any) -> None:
        """Called by the monitor when a task is done; ours have no row to delete."""
        if task_id != CANARY:
            super().acknowledge(task_id)  # type: ignore[misc]
            return
        _put_canary_off(CANARY_SHARE * patience())
        with _surviving("The cluster's heartbeat could not be written."):
            show_life()

    def _leave_without_watchdog(self) -> None:
        """End the cluster in order when its watchdog was killed: the next one starts a
        cluster of its own.
        """
        if not self._is_leaving and is_watchdog_gone():
            self._is_leaving = True
            logger.error("The cluster's watchdog is gone: the cluster leaves.")
            with suppress(ProcessLookupError):  # `cluster_end` sees to the others
                os.kill(os.getpgrp(), signal.SIGTERM)  # its first process


class DatabaseBroker(DrainsWhenDue, ORM):  # type: ignore[misc]
    """The cluster's own tasks wait in the database."""


@contextmanager
def _surviving(news: str) -> Iterator[None]:
    """The cluster's processes must not die of a database that fails."""
    try:
        yield
    except (DatabaseError, InterfaceError):
        logger.exception(news)


def is_cluster_leaving() -> bool:
    """Whether the cluster of this process has stopped asking for tasks.

    The cluster tells its workers nothing when it stops: it waits until they are done.
    """
    asked_at = float(_asked_at.value)
    return 0 < asked_at < time.monotonic() - PUSHER_SILENT_SECONDS


def _needs_drain() -> bool:
    if not connection.in_atomic_block:
        close_old_connections()
    try:
        now = database_now()
        return is_work_waiting(now) and not _is_drained_already(now)
    except (DatabaseError, InterfaceError):
        return False  # looked at again in a moment; the pusher must not die of it


def _is_drained_already(now: datetime) -> bool:
    """One drain per cluster; on SQLite one in all, where a second only waits."""
    alive = WorkerHeartbeat.objects.alive(now)
    if connection.vendor == "postgresql":
        alive = alive.filter(kind=WorkerKind.CLUSTER, host=socket.gethostname())
    return alive.exists()


def patience() -> timedelta:
    """How long a cluster may show no sign of life until its watchdog bites."""
    return timedelta(seconds=settings.QCLUSTER_PATIENCE_SECONDS)


def show_life() -> None:
    """Write the heartbeat of the cluster that this process belongs to."""
    ClusterHeartbeat.objects.update_or_create(
        host=socket.gethostname(),
        process_group=os.getpgrp(),
        defaults={
            "beat_at": database_now(),
            "is_watched": WATCHED_VARIABLE in os.environ,
        },
    )


def _is_canary_due() -> bool:
    return time.monotonic() >= float(_canary_due_at.value)


def _put_canary_off(interval: timedelta) -> None:
    _canary_due_at.value = time.monotonic() + interval.total_seconds()


def _package(name: str, function: str) -> str:
    """A task as `django_q.tasks.async_task` makes it, but never stored."""
    task = {
        "id": uuid.uuid4().hex,
        "name": name,
        "func": function,
        "args": (),
        "kwargs": {},
        "save": False,
        "ack_failure": True,
        "started": timezone.now(),
    }
    return str(SignedPackage.dumps(task))
