"""What one claim of 50 takes, by what waits in the queue, and by who holds it up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from statistics import median

from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from benchmarks.rows import Row
from benchmarks.stage import IS_FULL, queue
from messaging.queue.claim import Claimer
from routing.planner import Planner

LARGEST = 2_000_000 if IS_FULL else 400_000
CLAIMS = 40
BAR = 1.2  # times the claim at the smallest backlog


def run() -> Iterator[Row]:
    """Growing backlogs, then rows in the way, then a transaction that stays open."""
    queue(10_000)
    smallest = _claim_ms(CLAIMS)
    yield Row("claim at 10 thousand due", smallest, "ms")
    for more in (200_000, LARGEST):
        queue(more)
        took = _claim_ms(CLAIMS)
        yield Row(f"claim at {more:,} more", took, "ms")
    yield Row("  beside that at 10 thousand", took / smallest, "", BAR, is_most=True)
    queue(LARGEST // 2, priority=9, due_in=timedelta(days=1))
    took = _claim_ms(CLAIMS)
    yield Row(f"and {LARGEST // 2:,} of higher priority, later", took, "ms")
    yield Row("  beside that at 10 thousand", took / smallest, "", BAR, is_most=True)
    if connection.vendor == "postgresql":
        yield from _under_a_long_transaction()


def _under_a_long_transaction() -> Iterator[Row]:
    """What was claimed stays behind as dead index entries for as long as it lasts."""
    with _open_transaction():
        first = _claim_ms(CLAIMS)
        _claim_ms(400)
        last = _claim_ms(CLAIMS)
    yield Row("claim as a long transaction begins", first, "ms")
    yield Row("claim 20,000 messages later", last, "ms")
    yield Row("  beside the first", last / first, "", bar=2.0, is_most=True)


class _open_transaction:  # noqa: N801 - reads as a block
    """Another connection that has a snapshot and keeps it."""

    def __enter__(self) -> None:
        self._other = connections.create_connection("default")
        with self._other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM messaging_campaign")

    def __exit__(self, *_: object) -> None:
        self._other.close()


def _claim_ms(claims: int) -> float:
    """The median of claims that stay."""
    claimer = Claimer(
        owner=1,
        lease=timedelta(seconds=settings.QUEUE_LEASE_SECONDS),
        planner=Planner(rng=Random(0)),
    )
    times = []
    for _ in range(claims):
        started = time.perf_counter()
        claimer.claim(limit=50, now=timezone.now())
        times.append(time.perf_counter() - started)
    return median(times) * 1000
