"""A worker's heartbeat, for readiness checks and for the cluster's broker."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta

from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.vocabulary import WorkerKind
from routing.timer import Timer

BEAT_EVERY = timedelta(seconds=1)
FORGET_AFTER = timedelta(days=1)


class Heartbeat:
    """Keeps one worker's row up to date, and deletes it when the worker leaves."""

    def __init__(
        self, *, owner: int, kind: WorkerKind, clock: Callable[[], datetime]
    ) -> None:
        self._owner = owner
        self._kind = kind
        self._clock = clock
        self._started_at = clock()
        self._timer = Timer(BEAT_EVERY, is_over=True)

    def beat(self, *, in_flight: int, clock_skew: timedelta) -> None:
        """Write the row, at most once a second."""
        if not self._timer.comes_round():
            return
        values = {
            "beat_at": self._clock(),
            "in_flight": in_flight,
            "clock_skew": clock_skew,
        }
        WorkerHeartbeat.objects.update_or_create(
            owner=self._owner,
            defaults=values,
            create_defaults={
                **values,
                "kind": self._kind,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started_at": self._started_at,
            },
        )

    def end(self) -> None:
        """Delete the row, and those of workers and clusters that died long ago."""
        long_ago = self._clock() - FORGET_AFTER
        WorkerHeartbeat.objects.filter(owner=self._owner).delete()
        for heartbeats in (WorkerHeartbeat.objects, ClusterHeartbeat.objects):
            heartbeats.filter(beat_at__lt=long_ago).delete()
