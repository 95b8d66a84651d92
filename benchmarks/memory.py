"""The memory of a worker that sends many messages."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.rows import Row
from benchmarks.servers import server
from benchmarks.stage import IS_FULL, launch, queue, wait_until, workers
from messaging.models import Campaign, CampaignMessage
from messaging.vocabulary import CampaignStatus
from routing.vocabulary import MessageStatus

MESSAGES = 200_000 if IS_FULL else 40_000
GROWTH_BAR = 0.1
MEGABYTES_BAR = 150.0


def run() -> Iterator[Row]:
    """Memory after a quarter, with all threads and connections open, and at the end."""
    campaign = queue(MESSAGES, status=CampaignStatus.PAUSED)
    with server("http", latency=0.02) as port, workers(1, {"http": port}) as [worker]:
        launch(campaign)
        _wait_until_sent(campaign, MESSAGES // 4)
        early = worker.memory()
        _wait_until_sent(campaign, MESSAGES)
        late = worker.memory()
    yield Row(f"worker after {MESSAGES // 4:,} messages", early, "MB")
    yield Row(f"worker after {MESSAGES:,}", late, "MB", bar=MEGABYTES_BAR, is_most=True)
    yield Row("  growth", late / early - 1, "", bar=GROWTH_BAR, is_most=True)


def _wait_until_sent(campaign: Campaign, count: int) -> None:
    sent = CampaignMessage.objects.filter(campaign=campaign, status=MessageStatus.SENT)
    wait_until(lambda: sent.count() >= count, every=0.5)
