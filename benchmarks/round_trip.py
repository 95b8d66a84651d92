"""From the queue to the last confirmed message: receipts come in while it is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection

from benchmarks.confirming import confirming_provider
from benchmarks.processor_time import database_server, seconds_of
from benchmarks.rows import Row
from benchmarks.stage import (
    close_campaigns,
    launch,
    queue,
    send_by,
    unfinished,
    wait_until,
    workers,
)
from benchmarks.web import OURS, Web, web_server
from messaging.models import CampaignMessage
from messaging.vocabulary import CampaignStatus
from routing.models import WaitingReceipt
from routing.providers.registry import registry
from routing.vocabulary import MessageStatus

PROVIDERS = ("TwilioSMS", "VonageSMS", "SendGridEmail")
MESSAGES = 5_000
LATENCY = 0.1  # seconds
SHARE_BAR = 0.4  # of the rate of sending alone, on PostgreSQL


class Trip(NamedTuple):
    """A campaign that was sent and, with receipts, confirmed."""

    rate: float  # messages per second
    cpu_ms: float  # of processor time for each message: ours and the database's


def run() -> Iterator[Row]:
    """One worker and two web processes, without receipts and with them."""
    with web_server(OURS) as web:
        for provider in PROVIDERS:
            send_by(provider)
            yield from _rows_of(provider, web)


def _rows_of(provider: str, web: Web) -> Iterator[Row]:
    alone, confirmed = (
        max(_trip(provider, web, receipts=receipts) for _ in range(2))
        for receipts in (False, True)
    )
    yield Row(f"{provider}, {LATENCY * 1000:.0f} ms, sent", alone.rate, "msg/s")
    yield Row("  processor time, worker and database", alone.cpu_ms, "ms/msg")
    yield Row("  sent and confirmed by receipts", confirmed.rate, "msg/s")
    yield Row("  processor time, also of the web server", confirmed.cpu_ms, "ms/msg")
    bar = SHARE_BAR if connection.vendor == "postgresql" else None
    yield Row("  relative to sending alone", confirmed.rate / alone.rate, "", bar)


def _trip(provider: str, web: Web, *, receipts: bool) -> Trip:
    """Every receipt must be taken and applied, and every message be right."""
    channel = registry.provider_class(provider).channel
    campaign = queue(MESSAGES, channel=channel, status=CampaignStatus.PAUSED)
    messages = CampaignMessage.objects.filter(campaign=campaign)
    end = MessageStatus.DELIVERED if receipts else MessageStatus.SENT
    with (
        confirming_provider(
            provider, latency=LATENCY, web_port=web.port if receipts else 0
        ) as server,
        workers(1, {"http": server.port}, PUBLIC_URL=web.url) as (worker,),
    ):
        processes = (worker.process.pid, web.pid, *database_server())
        cpu, started = seconds_of(*processes), time.monotonic()
        launch(campaign)
        wait_until(lambda: not messages.exclude(status=end).exists(), every=0.05)
        wait_until(lambda: not WaitingReceipt.objects.exists())
        seconds, cpu = time.monotonic() - started, seconds_of(*processes) - cpu
    assert not unfinished().exists()
    assert set(server.answers) == ({204} if receipts else set()), server.answers
    close_campaigns()
    return Trip(MESSAGES / seconds, cpu / MESSAGES * 1000)
