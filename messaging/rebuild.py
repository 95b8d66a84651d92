"""Rebuild the statistics from the attempts and messages on record.

Nothing is replaced: any difference is added as one more entry. Records and statistics
are read in one snapshot, where each of the workers' changes is in both or in neither,
so this is safe while workers run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time

from django.db import connection, transaction
from django.db.models import BooleanField, Count, ExpressionWrapper, Max, Q
from django.db.models.functions import TruncDate

from messaging.models import CampaignMessage, RetentionMark
from messaging.transitions import ENDS
from routing.models import StatisticsEntry
from routing.rules.tally import Key, Part, TallySheet, day_of, status_counts
from routing.statistics.entries import (
    ONE_DAY,
    counted_attempts,
    days_with_attempts,
    read_totals,
    save_corrections,
)
from routing.vocabulary import MessageStatus


class RecordIsGone(ValueError):
    """The rows to count were pruned; the text says where to begin instead."""


def rebuild_statistics(
    *, since: date | None = None, is_dry_run: bool = False
) -> Iterator[TallySheet]:
    """Correct the days from `since` on, and yield the corrections as they are made.

    Without `since`, this starts at the first day with nothing pruned. RecordIsGone if
    `since` is earlier than that.

    1. in one transaction, the messages of all these days, in three passes
    2. in one transaction per day, its attempts, so that no snapshot is held for long
    """
    whole_since = _whole_since()
    if since is not None and since < whole_since:
        raise RecordIsGone(
            f"Messages or attempts before {whole_since} were pruned, so the statistics "
            f"of those days cannot be rebuilt. Use --since={whole_since}."
        )
    since = since or whole_since
    with _snapshot():
        messages = counted_messages(since=since)
        yield _correct(messages, Part.MESSAGES, since, None, is_dry_run)
    for day in days_with_attempts(since=since):
        with _snapshot():
            attempts = counted_attempts(day=day)
            yield _correct(attempts, Part.ATTEMPTS, day, day, is_dry_run)


def counted_messages(*, since: date) -> TallySheet:
    """The counts of the messages on record, from a day on."""
    sheet = TallySheet()
    for key, _, _, count in _grouped("created_at", since):
        counts = status_counts(MessageStatus.QUEUED)
        sheet.add(key._replace(provider=""), counts, times=count)
    for key, _, _, count in _grouped("sent_at", since):
        sheet.add(key, status_counts(MessageStatus.SENT), times=count)
    for key, status, was_sent, count in _grouped("finished_at", since):
        if status in ENDS:
            sheet.add(key, status_counts(status, was_sent=was_sent), times=count)
    return sheet


def _grouped(column: str, since: date) -> Iterator[tuple[Key, int, bool, int]]:
    """Message counts by the day of a column and other keys: one pass over all rows."""
    was_sent = ExpressionWrapper(Q(sent_at__isnull=False), output_field=BooleanField())
    rows = (
        CampaignMessage.objects.order_by()
        .filter(**{f"{column}__gte": datetime.combine(since, time.min, UTC)})
        .annotate(day=TruncDate(column, tzinfo=UTC), was_sent=was_sent)
        .values_list("day", "channel", "provider", "status", "was_sent")
    )
    for day, channel, provider, status, sent, count in rows.annotate(Count("id")):
        yield Key(day, channel, provider), status, bool(sent), count


def _correct(
    truth: TallySheet, part: Part, first: date, last: date | None, is_dry_run: bool
) -> TallySheet:
    correction = truth - read_totals(first=first, last=last).part(part)
    if not is_dry_run:
        save_corrections(correction)
    return correction


def _whole_since() -> date:
    """The first day whose messages and attempts are all still on record."""
    marks = RetentionMark.objects.filter(step__in=["messages", "attempts"])
    cleared_before = marks.aggregate(latest=Max("cleared_before"))["latest"]
    return day_of(cleared_before) + ONE_DAY if cleared_before else date.min


@contextmanager
def _snapshot() -> Iterator[None]:
    """A transaction that sees one moment, and excludes other rebuilds.

    SQLite has only one writing transaction anyway. On PostgreSQL the lock keeps out
    only its own kind; it comes before the snapshot, which the first query takes.
    """
    with transaction.atomic(durable=True):
        if connection.vendor == "postgresql":
            table = connection.ops.quote_name(StatisticsEntry._meta.db_table)
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")
        yield
