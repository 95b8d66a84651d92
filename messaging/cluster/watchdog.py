"""The watchdog of a django-q2 cluster: starts it again when it dies or stalls.

Measured on django-q2 1.11.1: an idle worker that is killed may take the lock of the
task queue with it, after which no worker gets a task; a monitor that is killed may take
that of the result queue; and when the guard is killed the first process leaves with
status 0, and the others stay behind unguarded. None of them can be mended from within.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models import QuerySet

from messaging.cluster.child_process import Child
from messaging.cluster.ending import LEAVE_WITHIN, WATCHED_VARIABLE
from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.queue.clock import database_now
from messaging.vocabulary import WorkerKind
from routing.timer import Timer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# Until the first sign of life of a new cluster, on a machine with much to do.
START_WITHIN = timedelta(seconds=60)
# A cluster that dies sooner than this is started again after a pause that doubles.
YOUNG = timedelta(seconds=30)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Signs:
    """What changes as long as a cluster lives: its canary, and the drains at work."""

    canary: datetime | None = None
    drains: frozenset[datetime] = frozenset()


def signs_of_life(group: int) -> Signs | None:
    """Those of a cluster on this host; None when the database cannot be asked."""
    try:
        close_old_connections()
        drains = WorkerHeartbeat.objects.alive(database_now()).filter(
            kind=WorkerKind.CLUSTER, host=socket.gethostname()
        )
        return Signs(
            canary=_heartbeat(group).values_list("beat_at", flat=True).first(),
            drains=frozenset(
                drain.beat_at for drain in drains if _group_of(drain.pid) == group
            ),
        )
    except (DatabaseError, InterfaceError):
        return None


class Watchdog:
    """Runs one cluster in a session of its own, and all of its processes with it."""

    def __init__(self, cluster: Child, *, patience: timedelta) -> None:
        """`patience`: how long the cluster may show no sign of life."""
        self._cluster = cluster
        self._patience = patience
        self._silence = Timer(patience)
        self._youth = Timer(YOUNG)
        self._signs = Signs()
        self._pause = FIRST_PAUSE
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let the cluster finish what is in flight; `run` returns when it has left."""
        self._stopping.set()

    def run(self) -> None:
        """Start the cluster, and again whenever it is dead, until told to stop."""
        self._start()
        while not self._stopping.wait(LOOK_SECONDS):
            if trouble := self._trouble():
                logger.error("The cluster %s: it is started again.", trouble)
                self._restart()
        self._cluster.stop()
        self._forget_heartbeat()

    def _trouble(self) -> str:
        """What is wrong with the cluster; "" when nothing is, or nobody can say."""
        if not self._cluster.is_running:
            return "has ended by itself"
        signs = self._look()
        if signs is None:  # without a database a new cluster would be no better
            self._silence.restart()
        elif signs != self._signs:
            self._signs = signs
            self._silence = Timer(self._patience)
        return "shows no sign of life" if self._silence.is_over() else ""

    def _restart(self) -> None:
        """1. Drains that still run finish what is in flight.
        2. Every process of the cluster is killed.
        3. After a pause, if this happens often, a new one starts.
        """
        self._cluster.signal(signal.SIGTERM)
        patience = Timer(LEAVE_WITHIN)
        while (signs := self._look()) and signs.drains and not patience.is_over():
            time.sleep(LOOK_SECONDS)
        self._cluster.kill()
        self._forget_heartbeat()
        if not self._stopping.wait(self._next_pause()):
            self._start()

    def _start(self) -> None:
        self._cluster.start()
        self._signs = Signs()
        self._silence = Timer(max(self._patience, START_WITHIN))
        self._youth.restart()

    def _next_pause(self) -> float:
        is_young = not self._youth.is_over()
        self._pause = min(2 * self._pause, LONGEST_PAUSE) if is_young else FIRST_PAUSE
        return self._pause

    def _look(self) -> Signs | None:
        return signs_of_life(self._cluster.group or 0)

    def _forget_heartbeat(self) -> None:
        with suppress(DatabaseError, InterfaceError):
            _heartbeat(self._cluster.group or 0).delete()


def watched_cluster() -> Child:
    """`manage.py qcluster` as a child, not started yet.

    It gets one end of a pipe; the other is ours alone, so that it notices our death.
    """
    theirs, _ours = os.pipe()
    return Child(
        "cluster",
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"],
        environment=os.environ | {WATCHED_VARIABLE: str(theirs)},
        pass_fds=[theirs],
        stop_seconds=LEAVE_WITHIN.total_seconds(),
    )


def _heartbeat(group: int) -> QuerySet[ClusterHeartbeat]:
    return ClusterHeartbeat.objects.filter(
        host=socket.gethostname(), process_group=group
    )


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
