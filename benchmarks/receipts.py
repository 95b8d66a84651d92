"""Receipts: taken in by the web server, and applied by a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from django.db import connection

from benchmarks.applying import applied_ms, put_on_record, recipients_of, send
from benchmarks.intake import CALLERS, Taken, take_in, take_in_strays
from benchmarks.rows import Row
from benchmarks.servers import server
from benchmarks.signed_receipts import SENT_AND_DELIVERED, Event
from benchmarks.stage import (
    IS_FULL,
    close_campaigns,
    launch,
    queue,
    unfinished,
    wait_until,
    workers,
)
from benchmarks.web import BARE, OURS, Web, web_server
from messaging.vocabulary import CampaignStatus
from routing.models import WaitingReceipt
from routing.reference import reference_for

TAKEN_IN = {"TwilioSMS": 3_000, "VonageSMS": 3_000, "SendGridEmail": 10_000}
WARM_UP = 400  # receipts
TURNS = 2
MESSAGES = 2_000  # with two receipts each
BACKLOG = 30_000  # messages that a worker sends meanwhile
LATENCY = 0.1  # seconds, of their provider
FEW, MANY = 10_000, 5_000_000 if IS_FULL else 200_000  # receipts on record
ROUNDS = 3

SHARE_BAR = 0.5  # of the rate of the bare application
WAIT_BAR = 500.0  # ms, on PostgreSQL: SQLite has one writer at a time
GROWTH_BAR = 1.2
CPU_BAR = 0.9  # ms


def run() -> Iterator[Row]:
    """Taking in beside a bare application, while a worker sends, and applying."""
    is_postgres = connection.vendor == "postgresql"
    with ExitStack() as stack:
        ours = stack.enter_context(web_server(OURS))
        bare = stack.enter_context(web_server(BARE)) if is_postgres else None
        taken = {name: _turns(name, ours, bare) for name in TAKEN_IN}
        for name, turns in taken.items():
            yield from rows_of(name, *turns)
        yield from _while_sending(ours)
    few, many = _applied()
    yield Row(f"applied, {FEW:,} on record", few, "ms/receipt")
    yield Row(f"applied, {MANY:,} more on record", many, "ms/receipt")
    yield Row("  beside few", many / few, "", bar=GROWTH_BAR, is_most=True)
    yield Row(
        "processor time, taken in and applied, TwilioSMS",
        min(each.cpu_ms for each in taken["TwilioSMS"][0]) + few,
        "ms/receipt",
        bar=CPU_BAR if is_postgres else None,
        is_most=True,
    )


def _turns(provider: str, ours: Web, bare: Web | None) -> tuple[list[Taken], ...]:
    """Ours and the bare application's in turns, after a first one to warm up."""
    servers = [ours, bare] if bare else [ours]
    for web in servers:
        take_in_strays(web, provider, WARM_UP)
    turns = [
        [take_in_strays(web, provider, TAKEN_IN[provider]) for web in servers]
        for _ in range(TURNS)
    ]
    return tuple(map(list, zip(*turns, strict=True)))


def rows_of(
    provider: str, ours: Sequence[Taken], bare: Sequence[Taken] = ()
) -> Iterator[Row]:
    """What was taken in, beside the bare application where that ran."""
    best = max(ours, key=lambda each: each.rate)
    yield Row(f"{provider}, taken in, {CALLERS} callers", best.rate, "receipts/s")
    yield Row("  processor time, web and database", _least(ours), "ms/receipt")
    for share, name in ((0.5, "half"), (0.99, "99 %")):
        wait = best.posted.percentile(share) * 1000
        yield Row(f"  {name} of the calls answered within", wait, "ms")
    if bare:
        theirs = max(each.rate for each in bare)
        yield Row("  bare application", theirs, "receipts/s")
        yield Row(
            "  its processor time, and the database's", _least(bare), "ms/receipt"
        )
        yield Row("  our share of its rate", best.rate / theirs, "", bar=SHARE_BAR)


def _least(turns: Sequence[Taken]) -> float:
    return min(each.cpu_ms for each in turns)


def _while_sending(web: Web) -> Iterator[Row]:
    """Receipts of messages that are there, while a worker sends others and applies."""
    events = _events_of(send(MESSAGES))
    campaign = queue(BACKLOG, status=CampaignStatus.PAUSED)
    with (
        server("http", latency=LATENCY) as port,
        workers(1, {"http": port}) as (worker,),
    ):
        launch(campaign)
        wait_until(lambda: unfinished().count() < BACKLOG - 500)
        before = unfinished().count()
        taken = take_in(web, "TwilioSMS", events)
        left = unfinished().count()
        assert left, "the worker had nothing more to send"
        worker.process.terminate()
        worker.process.wait()
    wait = taken.posted.percentile(0.99) * 1000
    sent = (before - left) / taken.posted.seconds
    yield Row("TwilioSMS, taken in while a worker sends", taken.rate, "receipts/s")
    bar = WAIT_BAR if connection.vendor == "postgresql" else None
    yield Row("  99 % of the calls answered within", wait, "ms", bar, is_most=True)
    yield Row("  sent meanwhile", sent, "msg/s")
    close_campaigns()
    WaitingReceipt.objects.all().delete()


def _events_of(ids: list[int]) -> list[Event]:
    statuses = SENT_AND_DELIVERED["TwilioSMS"]
    return [
        Event(
            reference_for(pk, 1, provider="TwilioSMS"),
            f"SM{32 * '0'}{pk}",
            recipient,
            status,
        )
        for status in statuses
        for pk, recipient in recipients_of(ids)
    ]


def _applied() -> tuple[float, float]:
    """Processor time of a receipt with few on record, and with many."""
    put_on_record(FEW)
    few = min(applied_ms(MESSAGES) for _ in range(ROUNDS))
    put_on_record(MANY)
    return few, min(applied_ms(MESSAGES) for _ in range(ROUNDS))
