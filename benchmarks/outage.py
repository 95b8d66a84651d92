"""An outage of the only provider: what waiting costs, and how traffic comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from django.db import connection
from django.utils import timezone

from benchmarks.processor_time import database_server, seconds_of
from benchmarks.rows import Row
from benchmarks.servers import server
from benchmarks.stage import IS_FULL, Worker, launch, queue, wait_until, workers
from messaging.models import Campaign, CampaignMessage
from messaging.vocabulary import CampaignStatus
from routing.decision.readiness import current_outages
from routing.models import ChannelRoutingConfig, MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, MessageStatus

BACKLOG = 1_000_000 if IS_FULL else 200_000
LATENCY = 0.1  # seconds
BEFORE = 4_000  # messages sent before the outage
HELD = 20.0  # seconds over which the cost of waiting is measured
SETTLED = 3.0  # seconds after its beginning
LOOK = 0.5  # seconds between two looks at the rate
FULL = 0.8  # of the rate before

CPU_BAR = 0.02  # of a core
WAL_BAR = 10.0  # KB a second
FIRST_BAR = 1.0  # seconds after the probe was due
RETURN_BAR = 60.0  # seconds
CALLS_BAR = 1.05  # a message


def run() -> Iterator[Row]:
    """One worker, one route without fallback, and a provider that answers 503."""
    ChannelRoutingConfig.objects.update(enable_fallback=False, fallback_provider="")
    campaign = queue(BACKLOG, status=CampaignStatus.PAUSED)
    with TemporaryDirectory() as directory:
        flag = Path(directory) / "down"
        with (
            server("breaking", latency=LATENCY, file=flag) as port,
            workers(1, {"http": port}) as (worker,),
        ):
            launch(campaign)
            before = _rate_of_first()
            flag.touch()
            wait_until(lambda: bool(current_outages(now=timezone.now())))
            time.sleep(SETTLED)
            yield from _waiting(worker)
            flag.unlink()
            yield from _return(before)
            Campaign.objects.update(status=CampaignStatus.PAUSED)
    yield from _end()


def _rate_of_first() -> float:
    """Messages per second, before the outage."""
    wait_until(lambda: _sent() >= BEFORE // 4)
    first, started = _sent(), time.monotonic()
    wait_until(lambda: _sent() >= BEFORE)
    return (_sent() - first) / (time.monotonic() - started)


def _sent() -> int:
    return MessageDeliveryAttempt.objects.filter(
        outcome=AttemptOutcome.ACCEPTED
    ).count()


def _waiting(worker: Worker) -> Iterator[Row]:
    processes = (worker.process.pid, *database_server())
    cpu, wal, started = seconds_of(*processes), _wal(), time.monotonic()
    time.sleep(HELD)
    seconds = time.monotonic() - started
    share = (seconds_of(*processes) - cpu) / seconds
    yield Row(
        f"{BACKLOG:,} messages on hold, processor time", share * 100, "% of a core"
    )
    yield Row("  relative to a core", share, "", bar=CPU_BAR, is_most=True)
    if wal is not None:
        rate = ((_wal() or 0) - wal) / seconds / 1000
        yield Row("  written to the log", rate, "KB/s", bar=WAL_BAR, is_most=True)


def _wal() -> float | None:
    """Bytes of write-ahead log so far; None where nobody counts them."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
        return float(cursor.fetchone()[0])


def _return(before: float) -> Iterator[Row]:
    back_at = timezone.now()
    (outage, *_) = current_outages(now=back_at).values()
    due_at = outage.next_try_at(back_at) or back_at
    wait_until(lambda: bool(_first_since(back_at)))
    first = _first_since(back_at) or back_at
    late = (first - max(due_at, back_at)).total_seconds()
    yield Row(
        "first message after the probe was due", late, "s", FIRST_BAR, is_most=True
    )
    started, counts = time.monotonic(), [_sent()]
    while len(counts) < 4 or counts[-1] - counts[-4] < FULL * before * 3 * LOOK:
        time.sleep(LOOK)
        counts.append(_sent())
    yield Row(f"{FULL:.0%} of the rate before", FULL * before, "msg/s")
    seconds = time.monotonic() - started
    yield Row("  reached after", seconds, "s", bar=RETURN_BAR, is_most=True)


def _first_since(moment: datetime) -> datetime | None:
    attempts = MessageDeliveryAttempt.objects.filter(
        outcome=AttemptOutcome.ACCEPTED, attempted_at__gt=moment
    )
    return (
        attempts.order_by("attempted_at").values_list("attempted_at", flat=True).first()
    )


def _end() -> Iterator[Row]:
    messages = CampaignMessage.objects.exclude(attempt_count=0)
    calls = MessageDeliveryAttempt.objects.count() / messages.count()
    failed = messages.filter(status=MessageStatus.FAILED).count()
    yield Row("calls for each message called", calls, "", bar=CALLS_BAR, is_most=True)
    yield Row("failed messages", failed, "", bar=0, is_most=True)
