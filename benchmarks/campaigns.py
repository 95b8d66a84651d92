"""Claim and record, by the number of campaigns due at once; each gets its share."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db import connection

from benchmarks.drain import drain
from benchmarks.rows import Row
from benchmarks.stage import IS_FULL, close_campaigns, queue_campaigns

MESSAGES = 40_000 if IS_FULL else 10_000  # of all campaigns together
NUMBERS = (1, 20, 200)
# Share of the rate with one campaign. SQLite queries each lane, up to fifty per claim,
# yet with two hundred it is as fast as PostgreSQL.
BARS = {"postgresql": 0.7}


def run() -> Iterator[Row]:
    """One campaign and many, in turns; the better of two runs each."""
    rates = dict.fromkeys(NUMBERS, 0.0)
    for _ in range(2):
        for number in NUMBERS:
            rates[number] = max(rates[number], _rate(number))
    bar = BARS.get(connection.vendor)
    for number, rate in rates.items():
        yield Row(f"claim + record, {number} campaign(s) due at once", rate, "msg/s")
        if number > 1:
            yield Row(f"  {number} relative to one", rate / rates[1], "", bar=bar)


def _rate(campaigns: int) -> float:
    queue_campaigns(campaigns, messages=MESSAGES)
    started = time.monotonic()
    assert drain() == MESSAGES
    seconds = time.monotonic() - started
    close_campaigns()
    return MESSAGES / seconds
