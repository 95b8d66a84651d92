"""The cluster's broker: it derives drain tasks from the message table.

A wake-up that is a row or a notification can be lost. This broker looks at the messages
themselves: while any are due and no worker is draining the queue, it gives the cluster
a drain task. Nothing about that task is stored, so nothing can be lost, doubled or left
over.

Now and then it also gives it a canary, a task that does nothing. Once it is
acknowledged, it has passed the pusher, a worker and the monitor: the cluster is alive.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from multiprocessing import parent_process
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.signing import SignedPackage

from messaging.cluster.lifeline import is_attached
from messaging.cluster.schedules import run_schedules
from messaging.cluster.task_gate import (
    CANARY_TASK,
    DRAIN_TASK,
    RefusedTask,
    note_refusal,
    opened,
)
from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.queue.coordination import database_now
from messaging.queue_status import is_work_waiting
from messaging.vocabulary import WorkerKind
from routing.timer import Timer

logger = logging.getLogger(__name__)

CANARY = "canary"  # in place of an acknowledgement's id
# As a share of the time in which the watchdog wants to see one.
CANARY_SHARE = 0.25
SCHEDULES_EVERY = timedelta(seconds=15)
# Time enough for a drain to start and show its heartbeat.
EMIT_EVERY = timedelta(seconds=2)

Tasks = list[tuple[Any, str]]


class DatabaseBroker(ORM):  # type: ignore[misc]
    """django-q2's broker for a table of tasks, and more. Its pusher calls it.

    A task that the cluster must not run is logged and thrown away.
    """

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        patience = timedelta(seconds=settings.QCLUSTER_PATIENCE_SECONDS)
        self._canary = Timer(CANARY_SHARE * patience, is_over=True)
        self._schedules = Timer(SCHEDULES_EVERY, is_over=True)
        self._emission = Timer(EMIT_EVERY, is_over=True)

    def ping(self) -> bool:
        """Called by the cluster's guard before it starts the other processes.

        If the whole process group gets SIGTERM, the guard would die while it holds a
        lock, and the cluster would wait for that lock for ever. Only the first process
        acts on the signal, and stops the others in order. They ignore it, except for a
        drain, which takes it as a hint to hurry.
        """
        if parent_process() is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return bool(super().ping())

    def dequeue(self) -> Tasks | None:
        """Now and then a canary, else queued tasks, else a drain if there is work."""
        if parent_process() is not None:  # within a cluster
            if self._canary.comes_round():
                return [(CANARY, _package("look for life", CANARY_TASK))]
            if self._schedules.comes_round():
                with _surviving("The schedules could not be looked at."):
                    run_schedules(self, now=timezone.now())
        if tasks := super().dequeue():
            return [task for task in tasks if self._is_allowed(*task)]
        if not self._emission.is_over() or not _needs_drain():
            return None
        self._emission.restart()
        return [(None, _package("drain the queue", DRAIN_TASK))]

    def acknowledge(self, task_id: Any) -> None:
        """Called by the monitor when a task is done; ours have no row to delete."""
        if task_id != CANARY:
            super().acknowledge(task_id)
            return
        with _surviving("The cluster's heartbeat could not be written."):
            show_life()

    def _is_allowed(self, ack_id: Any, payload: Any) -> bool:
        """Whether the cluster may run the task; if not, it is deleted."""
        try:
            opened(payload)
        except RefusedTask as refusal:
            self.fail(ack_id)
            with _surviving("A refused task could not be put on record."):
                note_refusal(f"Queued task {ack_id or ''}".strip(), f"{refusal}")
            return False
        return True


@contextmanager
def _surviving(news: str) -> Iterator[None]:
    """Log a failure of the database: the cluster's processes must survive it."""
    try:
        _drop_broken_connections()
        yield
    except (DatabaseError, InterfaceError):
        logger.exception(news)


def _drop_broken_connections() -> None:
    if not connection.in_atomic_block:  # as in tests
        close_old_connections()


def _needs_drain() -> bool:
    _drop_broken_connections()
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


def show_life() -> None:
    """Write the heartbeat of the cluster that this process belongs to."""
    ClusterHeartbeat.objects.update_or_create(
        host=socket.gethostname(),
        process_group=os.getpgrp(),
        defaults={"beat_at": database_now(), "is_watched": is_attached()},
    )


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
