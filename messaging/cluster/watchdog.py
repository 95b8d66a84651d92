"""The watchdog of a django-q2 cluster: restarts it when it dies or stalls.

Measured on django-q2 1.11.1: if an idle worker is killed, it may die holding the lock
of the task queue, and then no worker gets a task any more. A monitor may die holding
the lock of the result queue. If the guard is killed, the first process exits with
status 0. None of this can be repaired from within.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta
from multiprocessing import get_context
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.db.models import QuerySet
from django_q.cluster import Cluster

from messaging.cluster.lifeline import attach
from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.queue.coordination import database_now
from messaging.queue.hang_guard import HangGuard
from messaging.vocabulary import WorkerKind
from routing.timer import Timer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# Until the first sign of life of a new cluster, on a busy machine.
START_WITHIN = timedelta(seconds=60)
# How long a drain may take to finish what is in flight: two calls of a provider that
# does not answer, the second one a fallback.
LEAVE_WITHIN = timedelta(seconds=75)
LEAVING_LOOK_SECONDS = 0.2
PAUSE_SECONDS = 2.0  # between restarts, for a cluster that never comes up


class Watchdog:
    """Runs a cluster, with all its processes in a session of their own."""

    def __init__(self, *, patience: timedelta, guard: HangGuard | None = None) -> None:
        """`patience`: how long the cluster may go without a sign of life. `guard` ends
        this process if it hangs itself; the cluster's processes then end with it.
        """
        self._patience = patience
        self._guard = guard or HangGuard(timedelta(0))
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let the cluster finish what is in flight; `run` returns when it has ended."""
        self._stopping.set()
        self._guard.hurry()

    def run(self) -> None:
        """Start the cluster, and restart it whenever it is dead, until `stop`."""
        while not self._stopping.is_set():
            self._start()
            self._guard.start()
            try:
                if trouble := self._watch():
                    logger.error("The cluster %s: it is started again.", trouble)
                self._let_finish(is_well=not trouble)
            finally:
                self._kill()
                self._guard.stop()
            self._stopping.wait(PAUSE_SECONDS)

    def _start(self) -> None:
        connections.close_all()  # or the child would share them
        self._cluster = get_context("fork").Process(target=_run, args=[os.getpid()])
        self._cluster.start()

    def _watch(self) -> str:
        """Wait until something is wrong, and say what; "" after `stop`."""
        seen: set[datetime] = set()
        silence = Timer(max(self._patience, START_WITHIN))
        while not self._stopping.wait(LOOK_SECONDS):
            self._guard.beat()
            if not self._cluster.is_alive():
                return "has ended by itself"
            try:
                signs = self._signs_of_life()
            except (DatabaseError, InterfaceError):
                silence.restart()  # a new cluster would do no better
                continue
            if signs != seen:
                seen = signs
                silence = Timer(self._patience)
            if silence.is_over():
                return "shows no sign of life"
        return ""

    def _let_finish(self, *, is_well: bool) -> None:
        """Wait for drains to finish what is in flight.

        A cluster that `is_well` then ends by itself.
        """
        self._signal(signal.SIGTERM)
        patience = Timer(LEAVE_WITHIN)
        while not patience.is_over() and (
            self._is_draining() or (is_well and self._cluster.is_alive())
        ):
            self._guard.beat()
            time.sleep(LEAVING_LOOK_SECONDS)

    def _kill(self) -> None:
        """Kill what is left of the cluster."""
        self._signal(signal.SIGKILL)
        self._cluster.kill()  # it may have no session yet
        self._cluster.join()
        with suppress(DatabaseError, InterfaceError):
            self._heartbeats().delete()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._group, number)

    def _signs_of_life(self) -> set[datetime]:
        """What keeps changing while a cluster lives: its canary and its drains."""
        close_old_connections()
        signs = self._heartbeats().values_list("beat_at", flat=True)
        return {*signs, *_drains().values_list("beat_at", flat=True)}

    def _is_draining(self) -> bool:
        with suppress(DatabaseError, InterfaceError):
            close_old_connections()
            return _drains().exists()
        return False

    def _heartbeats(self) -> QuerySet[ClusterHeartbeat]:
        return ClusterHeartbeat.objects.filter(
            host=socket.gethostname(), process_group=self._group
        )

    @property
    def _group(self) -> int:
        return self._cluster.pid or 0


class _Cluster(Cluster):  # type: ignore[misc]
    def sig_handler(self, *args: Any) -> None:
        """Stop, once: django-q2's own handler fails on a second signal."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        super().sig_handler(*args)


def _run(watchdog: int) -> None:
    """The cluster's first process, which starts the others."""
    os.setsid()
    attach(parent=watchdog)
    _Cluster().start()


def _drains() -> QuerySet[WorkerHeartbeat]:
    return WorkerHeartbeat.objects.alive(database_now()).filter(
        kind=WorkerKind.CLUSTER, host=socket.gethostname()
    )
