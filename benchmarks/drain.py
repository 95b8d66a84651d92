"""What a worker does, without sending: claim, and record everything as accepted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from django.utils import timezone

from messaging.queue.claim import Claimer
from messaging.queue.claimed import Claimed, Result
from messaging.queue.record import record
from routing.decision.planner import Planner
from routing.dispatch import SendResult
from routing.providers.base import Acceptance
from routing.rules.decide import Sent

BATCH = 50
LEASE = timedelta(seconds=90)


def drain(*, owner: int = 1) -> int:
    """Claim and record until nothing is due; returns how many messages."""
    planner = Planner(rng=Random(0))
    claimer = Claimer(owner=owner, lease=LEASE, planner=planner)
    count = 0
    while claimed := claimer.claim(limit=BATCH, now=timezone.now()).claimed:
        results = [_accepted(each) for each in claimed]
        record(results, owner=owner, lease=LEASE, planner=planner, now=timezone.now())
        count += len(results)
    return count


def _accepted(claimed: Claimed) -> Result:
    done = SendResult(
        provider=claimed.decision.provider,
        attempted_at=datetime.now(UTC),
        response_time_ms=100,
        acceptance=Acceptance(f"SM{32 * '0'}{claimed.message_id}"),
    )
    return Result(claimed, done, Sent())
