"""The time of one claim of 50, by size of the queue and with obstacles in its way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from statistics import median

from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from benchmarks.rows import Row, progress
from benchmarks.stage import IS_FULL, close_campaigns, queue
from messaging.queue.claim import Claimer
from routing.decision.planner import Planner

FEW = 10_000
LARGEST = 2_000_000 if IS_FULL else 400_000
CLAIMS, ROUNDS = 40, 3
PINNED = 200_000 if IS_FULL else 20_000  # messages claimed under a long transaction
BATCH = 50
BAR = 1.2  # times the time without them


def run() -> Iterator[Row]:
    """A growing backlog, then rows in the way, then a long transaction.

    Only one campaign is due at a time; the rows of the others stay in the table.
    """
    queue(FEW)
    smallest = _claim_ms()
    yield Row(f"claim, {FEW:,} due", smallest, "ms")
    for size in (200_000, LARGEST):
        close_campaigns()
        queue(size)
        took = _claim_ms()
        yield Row(f"claim, {size:,} due", took, "ms")
        yield _relative_to("claim with the fewest", took / smallest)
    queue(LARGEST // 2, priority=9, due_in=timedelta(days=1))
    took = _claim_ms()
    yield Row(f"and {LARGEST // 2:,} of higher priority, due later", took, "ms")
    yield _relative_to("claim with the fewest", took / smallest)
    if connection.vendor == "postgresql":
        yield from _under_a_long_transaction()


def _relative_to(what: str, share: float) -> Row:
    return Row(f"  relative to the {what}", share, "", bar=BAR, is_most=True)


def _under_a_long_transaction() -> Iterator[Row]:
    """While it lasts, claimed rows stay behind as dead index entries."""
    with _open_transaction():
        claimer = _claimer()
        first = _claims_ms(CLAIMS, claimer)
        progress(f"claiming {PINNED:,} messages under a long transaction")
        _claims_ms(PINNED // BATCH, claimer)
        last = _claims_ms(CLAIMS, claimer)
        fresh = _claims_ms(1, _claimer())
    yield Row("claim at the start of a long transaction", median(first), "ms")
    yield Row(f"claim {PINNED:,} messages later", median(last), "ms")
    yield _relative_to("first", median(last) / median(first))
    yield Row("first claim of a worker that starts then", fresh[0], "ms")


class _open_transaction:  # noqa: N801 - reads as a block
    """Another connection that holds a snapshot."""

    def __enter__(self) -> None:
        self._other = connections.create_connection("default")
        with self._other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM messaging_campaign")

    def __exit__(self, *_: object) -> None:
        self._other.close()


def _claim_ms() -> float:
    """The best median of several rounds of claims, which are not undone."""
    return min(median(_claims_ms(CLAIMS, _claimer())) for _ in range(ROUNDS))


def _claims_ms(claims: int, claimer: Claimer) -> list[float]:
    times = []
    for _ in range(claims):
        started = time.perf_counter()
        claim = claimer.claim(limit=BATCH, now=timezone.now())
        times.append((time.perf_counter() - started) * 1000)
        assert len(claim.claimed) == BATCH
    return times


def _claimer() -> Claimer:
    """A worker that has just started."""
    return Claimer(
        owner=1,
        lease=timedelta(seconds=settings.QUEUE_LEASE_SECONDS),
        planner=Planner(rng=Random(0)),
    )
