"""Claim and record without sending, compared with two bare SQL statements."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from django.db import connection

from benchmarks import reference
from benchmarks.drain import drain
from benchmarks.rows import Row
from benchmarks.stage import IS_FULL, queue
from messaging.models import CampaignMessage
from routing.vocabulary import MessageStatus

MESSAGES = 100_000 if IS_FULL else 20_000


def run() -> Iterator[Row]:
    """Our code and the reference in turns, the best of three runs each."""
    is_postgres = connection.vendor == "postgresql"
    turns = [(_ours(), _theirs() if is_postgres else 0.0) for _ in range(3)]
    ours, theirs = map(max, zip(*turns, strict=True))
    yield Row("claim + record, batches of 50", ours, "msg/s")
    if is_postgres:
        yield Row("the same as two bare SQL statements", theirs, "msg/s")
        yield Row("share of the bare statements", ours / theirs, "", bar=0.5)


def _ours() -> float:
    queue(MESSAGES)
    started = time.monotonic()
    drain()
    seconds = time.monotonic() - started
    assert not CampaignMessage.objects.exclude(status=MessageStatus.SENT).exists()
    return MESSAGES / seconds


def _theirs() -> float:
    campaign = queue(MESSAGES)
    started = time.monotonic()
    assert reference.claim_and_record(os.environ["DATABASE_URL"], campaign.pk)
    return MESSAGES / (time.monotonic() - started)
