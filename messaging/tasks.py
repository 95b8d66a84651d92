"""What the django-q2 cluster runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from messaging.cluster.lifeline import ORPHANED
from messaging.queue.worker import Processor, problem_with_lease
from messaging.vocabulary import WorkerKind

# Far below the cluster's `timeout`, which would abort a drain in mid-air.
DRAIN_BUDGET = timedelta(seconds=30)
DRAIN_IDLE_LIMIT = timedelta(seconds=2)


def drain_queue() -> dict[str, Any]:
    """Drain the queue for a while; returns the report. Safe to run more than once."""
    if problem := problem_with_lease():
        raise ImproperlyConfigured(problem)
    processor = Processor(
        kind=WorkerKind.CLUSTER, budget=DRAIN_BUDGET, idle_limit=DRAIN_IDLE_LIMIT
    )
    with _finishing_early(processor):
        return asdict(processor.run())


def do_nothing() -> None:
    """The broker's canary: all that matters is that it comes back."""


@contextmanager
def _finishing_early(processor: Processor) -> Iterator[None]:
    """Finish what is in flight when the cluster is stopped, or has died.

    If it has died, this process ends too when it has finished.
    """
    came = set()

    def finish(number: int, frame: FrameType | None) -> None:
        came.add(number)
        processor.stop()

    reasons = (signal.SIGTERM, ORPHANED)
    before = {number: signal.signal(number, finish) for number in reasons}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if ORPHANED in came:
            signal.raise_signal(ORPHANED)
