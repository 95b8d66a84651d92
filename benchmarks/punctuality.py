"""How soon a message leaves: once it is queued, and once its retry is due."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from django.db import connection
from django.utils import timezone

from benchmarks.rows import Row
from benchmarks.servers import server
from benchmarks.stage import wait_until, workers
from messaging.models import Campaign, CampaignMessage
from messaging.queue.wakeup import notify_workers
from messaging.vocabulary import CampaignStatus
from routing.vocabulary import Channel, MessageStatus

TRIALS = 60
P95_BAR_MS = {"postgresql": 100.0}
RETRY_BAR = 1.0  # seconds late


def run() -> Iterator[Row]:
    """One worker that has nothing else to do."""
    with TemporaryDirectory() as directory:
        log = Path(directory) / "arrivals"
        with (
            server("http", latency=0.02, log=log) as port,
            workers(1, {"http": port}),
        ):
            delays = _delays(_queued_one_by_one(), log)
            late = _delays(_due_later(), log)
    yield Row("from commit to the provider, median", median(delays) * 1000, "ms")
    yield Row(
        "from commit to the provider, 95 %",
        delays[int(len(delays) * 0.95)] * 1000,
        "ms",
        bar=P95_BAR_MS.get(connection.vendor),
        is_most=True,
    )
    yield Row("a retry beyond its time, median", median(late), "s")
    yield Row(
        "a retry beyond its time, at most", late[-1], "s", bar=RETRY_BAR, is_most=True
    )


def _queued_one_by_one() -> dict[str, float]:
    """Recipients, and when their messages were committed."""
    campaign, moments = _campaign(), {}
    for number in range(TRIALS):
        recipient = f"1300000{number:04}"
        _message(campaign, recipient, timedelta(0))
        notify_workers()
        moments[recipient] = time.time()
        time.sleep(0.11)
    _wait(campaign)
    return moments


def _due_later() -> dict[str, float]:
    """Recipients whose first round failed, and when their second one is due."""
    campaign, moments = _campaign(), {}
    for number in range(TRIALS):
        recipient = f"1400000{number:04}"
        wait = timedelta(seconds=1 + 3 * number / TRIALS)
        moments[recipient] = time.time() + wait.total_seconds()
        _message(campaign, recipient, wait)
    _wait(campaign)
    return moments


def _delays(moments: dict[str, float], log: Path) -> list[float]:
    """Seconds from each moment to the arrival, in order of length."""
    lines = (line.split() for line in log.read_text().splitlines())
    arrivals = {recipient: float(moment) for moment, recipient in lines}
    return sorted(arrivals[recipient] - at for recipient, at in moments.items())


def _campaign() -> Campaign:
    return Campaign.objects.create(
        name="Benchmark", channel=Channel.SMS, body="Hi", status=CampaignStatus.RUNNING
    )


def _message(campaign: Campaign, recipient: str, wait: timedelta) -> None:
    CampaignMessage.objects.create(
        campaign=campaign,
        channel=campaign.channel,
        recipient=f"+{recipient}",
        due_at=timezone.now() + wait,
        retry_count=1 if wait else 0,
    )


def _wait(campaign: Campaign) -> None:
    """By the table, and not by the campaign's status: closing it takes a while."""
    sent = CampaignMessage.objects.filter(campaign=campaign, status=MessageStatus.SENT)
    wait_until(lambda: sent.count() == TRIALS)
