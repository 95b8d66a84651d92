"""From queue to provider and back, with real workers and adapters, local servers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import connection

from benchmarks import reference
from benchmarks.rows import Row
from benchmarks.servers import server
from benchmarks.stage import launch, queue, send_by, wait_until_sent, workers
from messaging.vocabulary import CampaignStatus
from routing.vocabulary import Channel

NAMES = {Channel.SMS: "TwilioSMS", Channel.EMAIL: "SMTPEmail"}
LATENCIES = (0.0, 0.02, 0.1)  # seconds
WIDE = 500  # messages in flight, instead of the default
MESSAGES = 6_000  # per process
REFERENCE_SHARE = 0.5
SMTP_BAR = 1500.0


def run() -> Iterator[Row]:
    """Each protocol at each latency, with one process and with two."""
    send_by("SMTPEmail")
    for channel in NAMES:
        for latency in LATENCIES:
            yield from _one_and_two_processes(channel, latency)
    yield from _many_in_a_call()
    if connection.vendor == "postgresql":
        for window in (settings.QUEUE_WINDOW, WIDE):
            yield from _against_reference(window)


def _one_and_two_processes(channel: Channel, latency: float) -> Iterator[Row]:
    for processes in (1, 2):
        rate, cpu = _ours(channel, latency, processes, settings.QUEUE_WINDOW)
        what = f"{NAMES[channel]}, {latency * 1000:.0f} ms, {processes} process(es)"
        is_barred = channel == Channel.EMAIL and processes == 2
        is_postgres = connection.vendor == "postgresql"
        yield Row(
            what, rate, "msg/s", bar=SMTP_BAR if is_barred and is_postgres else None
        )
        yield Row("  CPU time of the workers", cpu * 1000, "ms/msg")


def _many_in_a_call() -> Iterator[Row]:
    """E-mails through SendGrid: one per call, and a whole claim per call."""
    send_by("SendGridEmail")
    rates = {}
    for most in ("1", "1000"):
        rates[most], cpu = _ours(
            Channel.EMAIL,
            LATENCIES[-1],
            1,
            settings.QUEUE_WINDOW,
            protocol="http",
            SENDGRID_MAX_BATCH=most,
        )
        how = "one per call" if most == "1" else "many per call"
        what = f"SendGridEmail, {LATENCIES[-1] * 1000:.0f} ms, {how}"
        yield Row(what, rates[most], "msg/s")
        yield Row("  CPU time of the worker", cpu * 1000, "ms/msg")
    yield Row("  many per call relative to one", rates["1000"] / rates["1"], "")


def _against_reference(window: int) -> Iterator[Row]:
    """Our workers and the reference in turns, at the longest latency."""
    ours, theirs = 0.0, 0.0
    for _ in range(2):
        ours = max(ours, _ours(Channel.SMS, LATENCIES[-1], 1, window)[0])
        theirs = max(theirs, _theirs(LATENCIES[-1], window))
    what = f"{LATENCIES[-1] * 1000:.0f} ms, {window} in flight"
    yield Row(f"TwilioSMS, {what}, better of two runs", ours, "msg/s")
    yield Row(f"bare reference loop, {what}", theirs, "msg/s")
    yield Row("  our share of it", ours / theirs, "", bar=REFERENCE_SHARE)


def _ours(
    channel: Channel,
    latency: float,
    processes: int,
    window: int,
    *,
    protocol: str = "",
    **settings_of_workers: str,
) -> tuple[float, float]:
    """Messages per second, and CPU seconds per message."""
    count = MESSAGES * processes
    protocol = protocol or ("http" if channel == Channel.SMS else "smtp")
    campaign = queue(count, channel=channel, status=CampaignStatus.PAUSED)
    with (
        server(protocol, latency=latency) as port,
        workers(
            processes,
            {protocol: port},
            *("--window", str(window)),
            **settings_of_workers,
        ) as all_workers,
    ):
        cpu = sum(worker.cpu_seconds() for worker in all_workers)
        started = time.monotonic()
        launch(campaign)
        wait_until_sent(campaign)
        seconds = time.monotonic() - started
        cpu = sum(worker.cpu_seconds() for worker in all_workers) - cpu
    return count / seconds, cpu / count


def _theirs(latency: float, window: int) -> float:
    campaign = queue(MESSAGES)
    url = os.environ["DATABASE_URL"]
    with server("http", latency=latency) as port:
        seconds = reference.send(url, campaign.pk, port=port, window=window)
    return MESSAGES / seconds
