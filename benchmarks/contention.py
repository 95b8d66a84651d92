"""Whether workers wait for each other: two that claim and record, compared with one.

Both count for the same day, channel and provider. If that were one row of statistics,
each would lock it until commit, and they would take turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing import get_context

from django.db import connection, connections

from benchmarks.drain import drain
from benchmarks.rows import Row
from benchmarks.stage import IS_FULL, close_campaigns, queue, unfinished
from messaging.models import CampaignMessage
from routing.vocabulary import MessageStatus

MESSAGES = 50_000 if IS_FULL else 20_000
WAITING_BAR = 0.05  # of the time
LOOK_EVERY = 0.005  # seconds

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def run() -> Iterator[Row]:
    """The same work by one process, and shared by two."""
    alone, _ = _rate(1)
    together, waiting = _rate(2)
    yield Row("claim + record, one process", alone, "msg/s")
    yield Row("claim + record, two processes", together, "msg/s")
    yield Row("  relative to one", together / alone, "")
    yield Row(
        "  share of time with a process waiting for a lock",
        waiting,
        "",
        bar=WAITING_BAR,
        is_most=True,
    )


def _rate(processes: int) -> tuple[float, float]:
    """Messages per second, and the share of samples with a wait for a lock."""
    queue(MESSAGES)
    connections.close_all()  # a process must not use its parent's
    workers = [
        get_context("fork").Process(target=_work, args=(owner,))
        for owner in range(1, processes + 1)
    ]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    samples = []
    while any(worker.is_alive() for worker in workers):
        samples.append(_is_one_waiting())
        time.sleep(LOOK_EVERY)
    seconds = time.monotonic() - started
    sent = CampaignMessage.objects.filter(status=MessageStatus.SENT)
    assert not unfinished().exists(), sent.count()
    close_campaigns()
    return MESSAGES / seconds, sum(samples) / len(samples)


def _work(owner: int) -> None:
    drain(owner=owner)
    connections.close_all()


def _is_one_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return bool(cursor.fetchone()[0])
