"""The watchdog of a django-q2 cluster: starts it again when it dies or stalls.

Measured on django-q2 1.11.1: an idle worker that is killed may take the lock of the
task queue with it, after which no worker gets a task; a monitor that is killed may take
that of the result queue; and when the guard is killed the first process leaves with
status 0. None of them can be mended from within.
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
from messaging.queue.clock import database_now
from messaging.vocabulary import WorkerKind
from routing.timer import Timer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# Until the first sign of life of a new cluster, on a machine with much to do.
START_WITHIN = timedelta(seconds=60)
# How long a drain may take to finish what is in flight: two calls of a provider that
# does not answer, the second one a fallback.
LEAVE_WITHIN = timedelta(seconds=75)
LEAVING_LOOK_SECONDS = 0.2
PAUSE_SECONDS = 2.0  # before the next start, for a cluster that always fails to


class Watchdog:
    """Runs a cluster, and all of its processes in a session of their own."""

    def __init__(self, *, patience: timedelta) -> None:
        """`patience`: how long the cluster may show no sign of life."""
        self._patience = patience
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let the cluster finish what is in flight; `run` returns when it has left."""
        self._stopping.set()

    def run(self) -> None:
        """Start the cluster, and again whenever it is dead, until told to stop."""
        while not self._stopping.is_set():
            self._start()
            try:
                if trouble := self._watch():
                    logger.error("The cluster %s: it is started again.", trouble)
                self._let_finish(is_well=not trouble)
            finally:
                self._kill()
            self._stopping.wait(PAUSE_SECONDS)

    def _start(self) -> None:
        connections.close_all()  # or the child would have them as well
        self._cluster = get_context("fork").Process(target=_run, args=[os.getpid()])
        self._cluster.start()

    def _watch(self) -> str:
        """What is wrong with the cluster, once something is; "" when told to stop."""
        seen: set[datetime] = set()
        silence = Timer(max(self._patience, START_WITHIN))
        while not self._stopping.wait(LOOK_SECONDS):
            if not self._cluster.is_alive():
                return "has ended by itself"
            try:
                signs = self._signs_of_life()
            except (DatabaseError, InterfaceError):
                silence.restart()  # a new cluster would be no better off
                continue
            if signs != seen:
                seen = signs
                silence = Timer(self._patience)
            if silence.is_over():
                return "shows no sign of life"
        return ""

    def _let_finish(self, *, is_well: bool) -> None:
        """Wait until drains are done with what is in flight.

        A cluster that `is_well` leaves then by itself.
        """
        self._signal(signal.SIGTERM)
        patience = Timer(LEAVE_WITHIN)
        while not patience.is_over() and (
            self._is_draining() or (is_well and self._cluster.is_alive())
        ):
            time.sleep(LEAVING_LOOK_SECONDS)

    def _kill(self) -> None:
        """End what is left of the cluster."""
        self._signal(signal.SIGKILL)
        self._cluster.kill()  # it may have no session yet
        self._cluster.join()
        with suppress(DatabaseError, InterfaceError):
            self._heartbeats().delete()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._group, number)

    def _signs_of_life(self) -> set[datetime]:
        """What changes as long as a cluster lives: its canary, and drains at work."""
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
        """Stop, once: django-q2's own fails at a second signal."""
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
