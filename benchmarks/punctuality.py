"""How soon a message leaves after it is queued, or after its retry is due."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from django.db import connection, transaction
from django.utils import timezone

from benchmarks.rows import Row
from benchmarks.servers import server
from benchmarks.stage import wait_until, workers
from messaging.addresses import Address
from messaging.models import CampaignMessage
from messaging.single_messages import SingleMessage, post_messages
from routing.vocabulary import Channel, MessageStatus

TRIALS = 60
P95_BAR_MS = {"postgresql": 100.0}
RETRY_BAR = 1.0  # seconds late


def run() -> Iterator[Row]:
    """Measure with one worker that has nothing else to do."""
    with TemporaryDirectory() as directory:
        log = Path(directory) / "arrivals"
        with (
            server("http", latency=0.02, file=log) as port,
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
    yield Row("delay of a retry, median", median(late), "s")
    yield Row("delay of a retry, maximum", late[-1], "s", bar=RETRY_BAR, is_most=True)


def _queued_one_by_one() -> dict[str, float]:
    """When each recipient's message was committed."""
    moments = {}
    for number in range(TRIALS):
        recipient = f"1415200{number:04}"
        moments[recipient] = _post(recipient, timezone.now())
        time.sleep(0.11)
    _wait_until_sent(TRIALS)
    return moments


def _due_later() -> dict[str, float]:
    """When the second round of each recipient is due, after a failed first one."""
    moments = {}
    for number in range(TRIALS):
        recipient = f"1415300{number:04}"
        due_at = timezone.now() + timedelta(seconds=1 + 3 * number / TRIALS)
        moments[recipient] = due_at.timestamp()
        _post(recipient, due_at, retry_count=1)
    _wait_until_sent(2 * TRIALS)
    return moments


def _delays(moments: dict[str, float], log: Path) -> list[float]:
    """Seconds from each moment to the arrival, sorted."""
    lines = (line.split() for line in log.read_text().splitlines())
    arrivals = {recipient: float(moment) for moment, recipient in lines}
    return sorted(arrivals[recipient] - at for recipient, at in moments.items())


def _post(recipient: str, due_at: datetime, *, retry_count: int = 0) -> float:
    """Queue a message as the API does; returns when it was committed."""
    committed: list[float] = []
    single = SingleMessage(
        channel=Channel.SMS,
        address=Address(f"+{recipient}", "US"),
        body="Hi",
        scheduled_at=due_at,
    )
    with transaction.atomic():
        transaction.on_commit(lambda: committed.append(time.time()))
        [message] = post_messages([single], now=timezone.now())
        if retry_count:
            CampaignMessage.objects.filter(pk=message.pk).update(
                retry_count=retry_count
            )
    return committed[0]


def _wait_until_sent(count: int) -> None:
    sent = CampaignMessage.objects.filter(status=MessageStatus.SENT)
    wait_until(lambda: sent.count() == count)
