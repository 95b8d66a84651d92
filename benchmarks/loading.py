"""Loading a campaign from CSV: rows per second and memory, compared with bare COPY."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from django.db import connection
from django.utils import timezone

from benchmarks.rows import Row
from benchmarks.stage import IS_FULL, columns_of, queue
from messaging.audience.recipients import RecipientFile
from messaging.campaigns import CampaignText, send_campaign
from messaging.models import CampaignMessage
from routing.vocabulary import Channel

RECIPIENTS = 1_000_000 if IS_FULL else 50_000
COPY_SHARE = 0.4


def run() -> Iterator[Row]:
    """All the work of `send_campaign`: read, check, render, insert, launch."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "people.csv"
        _write_people(path)
        before = _peak_megabytes()
        rate = _load(path)
        grown = _peak_megabytes() - before
    yield Row(f"loading {RECIPIENTS:,} recipients", rate, "rows/s")
    yield Row("  additional memory", grown, "MB")
    if connection.vendor == "postgresql":
        bare = _bare_copy()
        yield Row("bare COPY of the same rows into the same table", bare, "rows/s")
        yield Row("  relative to the bare COPY", rate / bare, "", bar=COPY_SHARE)


def _load(path: Path) -> float:
    text = CampaignText(
        name="Benchmark", channel=Channel.SMS, body="Hi {{first_name}}, 20 % off."
    )
    started = time.monotonic()
    _, report = send_campaign(
        text,
        RecipientFile(path, channel=Channel.SMS),
        now=timezone.now(),
        on_rejected=lambda rejection: None,
    )
    assert report.accepted == RECIPIENTS
    return RECIPIENTS / (time.monotonic() - started)


def _bare_copy() -> float:
    """Copy the loaded rows out as text, and in again as another campaign's."""
    campaign = queue(1)
    copied = ", ".join(columns_of(CampaignMessage))
    values = copied.replace("campaign_id", str(campaign.pk), 1)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as bare:
        CampaignMessage.objects.filter(campaign=campaign).delete()
        with bare.cursor().copy(
            f"COPY (SELECT {values} FROM messaging_campaignmessage) TO STDOUT"
        ) as out:
            blocks = [bytes(block) for block in out]
        started = time.monotonic()
        with bare.cursor().copy(
            f"COPY messaging_campaignmessage ({copied}) FROM STDIN"
        ) as into:
            for block in blocks:
                into.write(block)
        return RECIPIENTS / (time.monotonic() - started)


def _write_people(path: Path) -> None:
    with path.open("w") as file:
        file.write("phone,first_name\n")
        for number in range(RECIPIENTS):
            file.write(f"+1415{2000000 + number},Ada{number % 100}\n")


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
