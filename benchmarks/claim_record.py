"""Claim and record without sending, beside two bare SQL statements."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from random import Random

from django.db import connection
from django.utils import timezone

from benchmarks import reference
from benchmarks.rows import Row
from benchmarks.stage import IS_FULL, queue
from messaging.models import CampaignMessage
from messaging.queue.claim import Claimer
from messaging.queue.placement import Claimed
from messaging.queue.record import Result, record
from routing.decide import Sent
from routing.dispatch import HandOver
from routing.planner import Planner
from routing.providers.base import Acceptance
from routing.vocabulary import MessageStatus

MESSAGES = 100_000 if IS_FULL else 20_000
LEASE = timedelta(seconds=90)
OWNER = 1


def run() -> Iterator[Row]:
    """Ours and the reference's in turns, the better of two each."""
    ours = max(_ours() for _ in range(2))
    yield Row("claim + record, batches of 50", ours, "msg/s")
    if connection.vendor == "postgresql":
        theirs = max(_theirs() for _ in range(2))
        yield Row("the same as two bare SQL statements", theirs, "msg/s")
        yield Row("share of the bare statements", ours / theirs, "", bar=0.5)


def _ours() -> float:
    queue(MESSAGES)
    planner = Planner(rng=Random(0))
    claimer = Claimer(owner=OWNER, lease=LEASE, planner=planner)
    started = time.monotonic()
    while claimed := claimer.claim(limit=50, now=timezone.now()).claimed:
        results = [_accepted(each) for each in claimed]
        record(results, owner=OWNER, lease=LEASE, planner=planner, now=timezone.now())
    seconds = time.monotonic() - started
    assert not CampaignMessage.objects.exclude(status=MessageStatus.SENT).exists()
    return MESSAGES / seconds


def _theirs() -> float:
    campaign = queue(MESSAGES)
    started = time.monotonic()
    assert reference.claim_and_record(os.environ["DATABASE_URL"], campaign.pk)
    return MESSAGES / (time.monotonic() - started)


def _accepted(claimed: Claimed) -> Result:
    done = HandOver(
        provider=claimed.decision.provider,
        attempted_at=timezone.now(),
        response_time_ms=100,
        acceptance=Acceptance(f"SM{32 * '0'}{claimed.message_id}"),
    )
    return Result(claimed, done, Sent())
