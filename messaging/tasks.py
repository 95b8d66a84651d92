"""The tasks of the django-q2 cluster."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from messaging.cluster.broker import is_cluster_leaving
from messaging.cluster.ending import draining
from messaging.queue.worker import Processor
from messaging.vocabulary import WorkerKind

# Far below the cluster's `timeout`, which would abort a drain half-way.
DRAIN_BUDGET = timedelta(seconds=30)
DRAIN_IDLE_LIMIT = timedelta(seconds=2)
LOOK_SECONDS = 0.5


def drain_queue() -> dict[str, Any]:
    """Drain the queue for a while; returns the report. Safe to run more than once."""
    processor = Processor(
        kind=WorkerKind.CLUSTER, budget=DRAIN_BUDGET, idle_limit=DRAIN_IDLE_LIMIT
    )
    with (
        draining(),
        _stopped_by_sigterm(processor),
        _stopped_with_the_cluster(processor),
    ):
        return asdict(processor.run())


def do_nothing() -> None:
    """The broker's canary: it only shows that tasks are run."""


@contextmanager
def _stopped_by_sigterm(processor: Processor) -> Iterator[None]:
    """Finish what is in flight when the whole process group gets SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda *_: processor.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stopped_with_the_cluster(processor: Processor) -> Iterator[None]:
    """Finish what is in flight when only the cluster's main process gets SIGTERM."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_SECONDS):
            if is_cluster_leaving():
                processor.stop()

    watcher = threading.Thread(target=watch, name="cluster-watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
