"""Statistics as they are kept: counted in passing, folded now and then.

Whatever changes a number does so in the transaction that writes what is counted, by
adding an entry. At every moment the sum of the entries, folded or not, is what counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection, transaction
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
FOLD_AT_MOST = 2000  # entries at once: a short transaction, again in a second


def save_counts(sheet: TallySheet, *, is_prepared: bool = False) -> None:
    """Add what was counted, in one INSERT; within the caller's transaction.

    Prepared, it is cheaper; workers may, web processes may be behind a pooler.
    """
    if rows := entries(sheet):
        with prepared_cursor() if is_prepared else connection.cursor() as cursor:
            statement = INSERT_ENTRIES.format(rows=derived_table(ENTRY_COLUMNS))
            cursor.execute(statement, [as_json(rows)])


def entries(sheet: TallySheet) -> list[Row]:
    """What was counted, as rows of `INSERT_ENTRIES`."""
    return [{**key._asdict(), "tally": tally.counts} for key, tally in sheet.tallies()]


def read_totals(
    *,
    first: date | None = None,
    last: date | None = None,
    channel: Channel | None = None,
) -> TallySheet:
    """What the statistics say of some days and a channel, or of all. One statement:
    it sees what is being folded once.
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
    """The days on which there are attempts, or the statistics say that there were."""
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
    """What the attempts of a day count for. The database groups what is alike."""
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
    """Replace fresh entries by one per day, channel and provider; returns how many.

    Safe with any number of workers: what one of them has locked the others leave alone,
    and find folded, as one or as two, the next time.
    """
    if not StatisticsEntry.objects.filter(is_folded=False).exists():
        return 0
    with transaction.atomic():
        unlocked = StatisticsEntry.objects.select_for_update(skip_locked=True)
        fresh = list(unlocked.filter(is_folded=False).order_by("id")[:FOLD_AT_MOST])
        days = {entry.day for entry in fresh}
        folded = unlocked.filter(is_folded=True, day__in=days).order_by("id")
        _replace([*fresh, *_of_same_keys(folded, fresh)])
    return len(fresh)


def _of_same_keys(
    folded: Iterable[StatisticsEntry], fresh: Iterable[StatisticsEntry]
) -> list[StatisticsEntry]:
    keys = {_key_of(entry) for entry in fresh}
    return [entry for entry in folded if _key_of(entry) in keys]


def _replace(entries: list[StatisticsEntry]) -> None:
    sheet = TallySheet()
    for entry in entries:
        sheet.add(_key_of(entry), entry.tally)
    StatisticsEntry.objects.filter(pk__in=[entry.pk for entry in entries]).delete()
    StatisticsEntry.objects.bulk_create(
        StatisticsEntry(**key._asdict(), tally=tally.counts, is_folded=True)
        for key, tally in sheet.tallies()
    )


def _key_of(entry: StatisticsEntry) -> Key:
    return Key(entry.day, entry.channel, entry.provider)
