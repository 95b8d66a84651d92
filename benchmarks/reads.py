"""The time to read statistics and lists, by the number of attempts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from statistics import median

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from benchmarks.copies import copy_to_all
from benchmarks.rows import Row, progress
from benchmarks.stage import IS_FULL, queue, tidy
from marketing_platform.tokens.services import issue_token
from marketing_platform.tokens.vocabulary import TokenScope
from messaging.models import CampaignMessage
from messaging.vocabulary import CampaignStatus
from routing.models import MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

FEW = 10_000
MANY = 5_000_000 if IS_FULL else 200_000
READS, ROUNDS = 9, 3
PROVIDERS = ("TwilioSMS", "VonageSMS", "Another")
BAR = 2.0  # times the time with few

# Attempts are spread over a month and three providers, with different response times,
# so that tallies get as large as possible.
_A_DAY_EACH = {
    "postgresql": "a.attempted_at - (m.id %% 30) * interval '1 day'",
    "sqlite": "datetime(a.attempted_at, '-' || (m.id %% 30) || ' days')",
}
_PROVIDER = " ".join(
    f"WHEN {number} THEN '{name}'" for number, name in enumerate(PROVIDERS)
)


def run() -> Iterator[Row]:
    """Each page with few attempts, and with many."""
    client = _client()
    _attempt(FEW)
    few = {name: _read_ms(client, path) for name, path in _paths().items()}
    _attempt(MANY)
    for name, path in _paths().items():
        took = _read_ms(client, path)
        yield Row(f"{name}, {FEW:,} attempts", few[name], "ms")
        yield Row(f"{name}, {MANY:,} more", took, "ms")
        yield Row("  relative to few", took / few[name], "", bar=BAR, is_most=True)


def _paths() -> dict[str, str]:
    today = timezone.now().date()
    span = f"startDate={today - timedelta(days=30)}&endDate={today}"
    message = CampaignMessage.objects.order_by("id")[0]
    return {
        "statistics overall": f"/api/routingconfig/stats/overall?{span}",
        "statistics of a channel": f"/api/routingconfig/stats/channel/0?{span}",
        "attempts of a message": f"/api/routingconfig/delivery-attempts/{message.pk}",
        "the latest messages": "/api/messages",
    }


def _read_ms(client: Client, path: str) -> float:
    """The best median of several rounds, after one read to warm up."""
    _read(client, path)
    rounds = [[_read(client, path) for _ in range(READS)] for _ in range(ROUNDS)]
    return min(map(median, rounds)) * 1000


def _read(client: Client, path: str) -> float:
    started = time.perf_counter()
    answer = client.get(path)
    seconds = time.perf_counter() - started
    assert answer.status_code == 200, (path, answer.content[:300])
    return seconds


def _attempt(count: int) -> None:
    """Create a campaign sent over the last month, with its statistics."""
    progress(f"creating {count:,} attempts")
    campaign = queue(count, status=CampaignStatus.COMPLETED)
    messages = CampaignMessage.objects.filter(campaign=campaign)
    messages.update(status=MessageStatus.SENT, sent_at=timezone.now())
    first = MessageDeliveryAttempt.objects.create(
        message=messages.order_by("id")[0],
        attempt_number=1,
        channel=Channel.SMS,
        provider=PROVIDERS[0],
        attempted_at=timezone.now(),
        outcome=AttemptOutcome.ACCEPTED,
        cost=Decimal("0.0079"),
        currency="USD",
        external_message_id=f"SM{campaign.pk}",
    )
    copy_to_all(
        first,
        campaign,
        attempted_at=_A_DAY_EACH[connection.vendor],
        external_message_id="'SM' || m.id",
        provider=f"CASE m.id %% {len(PROVIDERS)} {_PROVIDER} END",
        response_time_ms="20 + m.id %% 400",
    )
    call_command("rebuild_stats", stdout=StringIO())
    tidy()


def _client() -> Client:
    user = User.objects.create_superuser("benchmark")
    _, text = issue_token(
        user=user, scope=TokenScope.ADMIN, expires_at=None, name="benchmark"
    )
    return Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {text}"})
