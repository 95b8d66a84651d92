"""Statistics as stored: counted with each change, compacted now and then.

Every change of a number is an entry, added in the transaction that writes the counted
rows. At any time the statistics are the sum of all entries, compacted or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from django.db import transaction
from django.db.models import Count
from django.db.models.functions import TruncDate

from routing.models import MessageDeliveryAttempt, StatisticsEntry
from routing.rules.tally import (
    COUNTED,
    Key,
    Part,
    TallySheet,
    attempt_counts,
    cost_counts,
)
from routing.sql_rows import Columns, Row, as_json, derived_table, prepared_cursor
from routing.statistics.minutes import note_minutes
from routing.vocabulary import Channel

ONE_DAY = timedelta(days=1)
ENTRY_COLUMNS: Columns = {
    "day": "date",
    "channel": "smallint",
    "provider": "text",
    "tally": "jsonb",
}
INSERT_ENTRIES = """
INSERT INTO routing_statisticsentry (day, channel, provider, tally, is_folded)
SELECT v.day, v.channel, v.provider, v.tally, false FROM {rows}
"""
COMPACT_AT_MOST = 2000  # entries at once: a short transaction, again in a second


def save_counts(sheet: TallySheet) -> None:
    """Add the counts in one INSERT; within the caller's transaction."""
    if rows := entries(sheet):
        statement = INSERT_ENTRIES.format(rows=derived_table(ENTRY_COLUMNS))
        with prepared_cursor() as cursor:
            cursor.execute(statement, [as_json(rows)])


def save_corrections(sheet: TallySheet) -> None:
    """Add the counts without a time: what they count happened earlier."""
    StatisticsEntry.objects.bulk_create(
        StatisticsEntry(**row, counted_at=None) for row in entries(sheet)
    )


def entries(sheet: TallySheet) -> list[Row]:
    """The counts as rows of `INSERT_ENTRIES`."""
    return [{**key._asdict(), "tally": tally.counts} for key, tally in sheet.tallies()]


def read_totals(
    *,
    first: date | None = None,
    last: date | None = None,
    channel: Channel | None = None,
) -> TallySheet:
    """The totals of some days and a channel, or of all. In one statement, so that
    entries which are being compacted count once.
    """
    rows = StatisticsEntry.objects.order_by()
    if first is not None:
        rows = rows.filter(day__gte=first)
    if last is not None:
        rows = rows.filter(day__lte=last)
    if channel is not None:
        rows = rows.filter(channel=channel)
    sheet = TallySheet()
    for day, channel, provider, counts in rows.values_list(*Key._fields, "tally"):
        sheet.add(Key(day, channel, provider), counts)
    return sheet


def days_with_attempts(*, since: date) -> list[date]:
    """The days that have attempts, in their table or in the statistics."""
    attempts = MessageDeliveryAttempt.objects.order_by()
    counted = (
        attempts.filter(attempted_at__gte=_start_of(since))
        .annotate(day=TruncDate("attempted_at", tzinfo=UTC))
        .values_list("day", flat=True)
        .distinct()
    )
    sheet = read_totals(first=since).part(Part.ATTEMPTS)
    return sorted({*counted, *(key.day for key, _ in sheet.tallies())})


def counted_attempts(*, day: date) -> TallySheet:
    """The attempts of a day, counted again. The database groups equal ones."""
    attempts = MessageDeliveryAttempt.objects.order_by().filter(
        attempted_at__gte=_start_of(day), attempted_at__lt=_start_of(day) + ONE_DAY
    )
    sheet = TallySheet()
    for row in attempts.values("channel", "provider", *COUNTED).annotate(n=Count("id")):
        where = Key(day, row["channel"], row["provider"])
        sheet.add(where, attempt_counts(row), times=row["n"])
    priced = attempts.exclude(cost=None).values_list(
        "channel", "provider", "cost", "currency"
    )
    for channel, provider, cost, currency, count in priced.annotate(Count("id")):
        where = Key(day, channel, provider)
        sheet.add(where, cost_counts(cost, currency), times=count)
    return sheet


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def compact_entries() -> int:
    """Replace new entries by one per day, channel and provider; returns how many.

    Their minutes are counted first, which the sums no longer tell.
    Safe with any number of workers: they skip entries that another one has locked, and
    find them compacted the next time, into one or two.
    """
    if not StatisticsEntry.objects.filter(is_folded=False).exists():
        return 0
    with transaction.atomic():
        unlocked = StatisticsEntry.objects.select_for_update(skip_locked=True)
        new = list(unlocked.filter(is_folded=False).order_by("id")[:COMPACT_AT_MOST])
        note_minutes(new)
        days = {entry.day for entry in new}
        compacted = unlocked.filter(is_folded=True, day__in=days).order_by("id")
        _replace([*new, *_of_same_keys(compacted, new)])
    return len(new)


def _of_same_keys(
    compacted: Iterable[StatisticsEntry], new: Iterable[StatisticsEntry]
) -> list[StatisticsEntry]:
    keys = {_key_of(entry) for entry in new}
    return [entry for entry in compacted if _key_of(entry) in keys]


def _replace(entries: list[StatisticsEntry]) -> None:
    sheet = TallySheet()
    for entry in entries:
        sheet.add(_key_of(entry), entry.tally)
    StatisticsEntry.objects.filter(pk__in=[entry.pk for entry in entries]).delete()
    StatisticsEntry.objects.bulk_create(
        StatisticsEntry(
            **key._asdict(), tally=tally.counts, counted_at=None, is_folded=True
        )
        for key, tally in sheet.tallies()
    )


def _key_of(entry: StatisticsEntry) -> Key:
    return Key(entry.day, entry.channel, entry.provider)
