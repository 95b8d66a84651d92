"""Set-up for benchmarks: campaigns with queued messages, and workers to send them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from django.db import ProgrammingError, connection
from django.db.models import Model
from django.utils import timezone

from benchmarks.accounts import accounts
from benchmarks.rows import progress
from messaging.models import (
    Campaign,
    CampaignMessage,
    CampaignMessageQuerySet,
    WorkerHeartbeat,
)
from messaging.queue.coordination import notify_workers
from messaging.vocabulary import CampaignStatus
from routing.models import ChannelRoutingConfig
from routing.providers.registry import registry
from routing.vocabulary import Channel, MessageStatus

IS_FULL = os.environ.get("BENCH_SCALE") == "full"
PATIENCE = 1800.0 if IS_FULL else 120.0  # seconds
MANY = 300_000  # rows that take long enough to report progress

# Copies of a campaign's first message, to other recipients, due a microsecond apart.
_COPIES = """
INSERT INTO messaging_campaignmessage ({columns})
SELECT {values} FROM messaging_campaignmessage AS m, {numbers} WHERE m.id = %s
"""
_NUMBERS = {
    "postgresql": "generate_series(2, {}) AS numbers(n)",
    "sqlite": "(WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM "
    "numbers WHERE n < {}) SELECT n FROM numbers)",
}
_LATER = {
    "postgresql": "m.due_at + n * interval '1 microsecond'",
    "sqlite": "m.due_at",
}
_RECIPIENTS = {
    Channel.SMS: "'+1' || (2000000000 + n)",
    Channel.EMAIL: "'u' || n || '@example.com'",
}


def queue(
    count: int,
    *,
    channel: Channel = Channel.SMS,
    priority: int = 5,
    status: CampaignStatus = CampaignStatus.RUNNING,
    due_in: timedelta = timedelta(0),
) -> Campaign:
    """Create a campaign whose messages fall due after `due_in`, a microsecond apart."""
    if count >= MANY:
        progress(f"queueing {count:,} messages")
    campaign = _campaign(
        count, channel=channel, priority=priority, status=status, due_in=due_in
    )
    tidy()
    return campaign


def queue_campaigns(number: int, *, messages: int) -> None:
    """Create campaigns of equal priority, with the messages divided among them."""
    for _ in range(number):
        _campaign(messages // number)
    tidy()


def close_campaigns() -> None:
    """Complete all campaigns, because each claim checks every running one."""
    Campaign.objects.update(status=CampaignStatus.COMPLETED)


def tidy() -> None:
    """Do what autovacuum and checkpoints would have done in time."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
            with suppress(ProgrammingError):  # needs superuser or pg_checkpoint
                cursor.execute("CHECKPOINT")
        else:
            cursor.execute("ANALYZE")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _campaign(
    count: int,
    *,
    channel: Channel = Channel.SMS,
    priority: int = 5,
    status: CampaignStatus = CampaignStatus.RUNNING,
    due_in: timedelta = timedelta(0),
) -> Campaign:
    campaign = Campaign.objects.create(
        name="Benchmark",
        channel=channel,
        subject="News" if channel == Channel.EMAIL else "",
        body="Twenty per cent off until Sunday, at all our shops. Reply STOP to end.",
        priority=priority,
        status=status,
    )
    first = CampaignMessage.objects.create(
        campaign=campaign,
        channel=channel,
        recipient="u1@example.com" if channel == Channel.EMAIL else "+12000000001",
        country="US",
        due_at=timezone.now() + due_in - timedelta(seconds=count / 1e6),
    )
    _copy(first, count)
    return campaign


def columns_of(model: type[Model]) -> list[str]:
    """The columns of its table, without the id."""
    columns = [field.column for field in model._meta.concrete_fields]
    return [column for column in columns if column and column != "id"]


def _copy(first: CampaignMessage, count: int) -> None:
    columns = columns_of(CampaignMessage)
    special = {
        "recipient": _RECIPIENTS[Channel(first.channel)],
        "due_at": _LATER[connection.vendor],
    }
    statement = _COPIES.format(
        columns=", ".join(columns),
        values=", ".join(special.get(name, f"m.{name}") for name in columns),
        numbers=_NUMBERS[connection.vendor].format(count),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [first.pk])


def send_by(provider: str) -> None:
    """Make this provider its channel's primary, and the other one its fallback."""
    others = {
        "SMTPEmail": "SendGridEmail",
        "SendGridEmail": "SMTPEmail",
        "TwilioSMS": "VonageSMS",
        "VonageSMS": "TwilioSMS",
    }
    ChannelRoutingConfig.objects.filter(
        channel=registry.provider_class(provider).channel
    ).update(primary_provider=provider, fallback_provider=others[provider])


def launch(campaign: Campaign) -> None:
    """Let its messages leave."""
    Campaign.objects.filter(pk=campaign.pk).update(status=CampaignStatus.RUNNING)
    notify_workers()


class Worker:
    """A `process_queue --watch`, with its CPU time and memory."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._stat = Path(f"/proc/{process.pid}/stat")
        self._status = Path(f"/proc/{process.pid}/status")
        self.process = process

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory, in MB."""
        line = next(
            line
            for line in self._status.read_text().splitlines()
            if line.startswith("VmRSS")
        )
        return int(line.split()[1]) / 1024


@contextmanager
def workers(
    count: int, ports: Mapping[str, int], *options: str, **settings: str
) -> Iterator[list[Worker]]:
    """Start workers, and wait until they are up and idle. `ports` are their providers'
    ports; `settings` are environment variables.
    """
    command = [sys.executable, "manage.py", "process_queue", "--watch", *options]
    environment = os.environ | accounts(**ports) | settings
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            )
            for _ in range(count)
        ]
        try:
            wait_until(lambda: WorkerHeartbeat.objects.count() >= count)
            yield [Worker(process) for process in processes]
        finally:
            for process in processes:
                process.terminate()


def unfinished() -> CampaignMessageQuerySet:
    """The messages that are not finished."""
    statuses = [MessageStatus.QUEUED, MessageStatus.SENDING]
    return CampaignMessage.objects.filter(status__in=statuses)


def wait_until_sent(campaign: Campaign) -> None:
    """Wait for the last message to be recorded."""
    left = unfinished().filter(campaign=campaign)
    wait_until(lambda: not left.exists())
    sent = CampaignMessage.objects.filter(campaign=campaign, status=MessageStatus.SENT)
    total = CampaignMessage.objects.filter(campaign=campaign)
    assert sent.count() == total.count(), "not all messages were sent"


def wait_until(is_over: Callable[[], bool], *, every: float = 0.02) -> None:
    """Check every `every` seconds; AssertionError after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not is_over():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(every)
