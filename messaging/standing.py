"""Where messages count in the statistics.

A message counts as Queued on the day it was taken in, as Sent on that of `sent_at`, and
as what became of it on that of `finished_at`. All of it is on its row, so that the
statistics can be made anew from the rows; whoever changes a row counts the difference,
in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from typing import Protocol

from django.db.models import BooleanField, Count, ExpressionWrapper, Q
from django.db.models.functions import TruncDate

from messaging.models import CampaignMessage
from routing.tally import Counts, Key, TallySheet, status_counts
from routing.vocabulary import MessageStatus

ENDS = (
    MessageStatus.DELIVERED,
    MessageStatus.FAILED,
    MessageStatus.BOUNCED,
    MessageStatus.CANCELLED,
    MessageStatus.SUPPRESSED,
    MessageStatus.EXPIRED,
)


def count_taken_in(sheet: TallySheet, messages: Iterable[CampaignMessage]) -> None:
    """Count messages that were just created."""
    counts = status_counts(MessageStatus.QUEUED)
    for each in messages:
        sheet.count(counts, at=each.created_at, channel=each.channel, provider="")


def count_audience(sheet: TallySheet, shared: CampaignMessage, size: int) -> None:
    """Count as many as were just created with this in common."""
    counts = status_counts(MessageStatus.QUEUED)
    at, channel = shared.created_at, shared.channel
    sheet.count(counts, at=at, channel=channel, provider="", times=size)


def count_arrival(
    sheet: TallySheet,
    status: int,
    *,
    channel: int,
    provider: str,
    at: datetime,
    times: int = 1,
) -> None:
    """Count a message, or as many, that went from Queued or Sending to this status.

    Sending and Queued are passed through again and again: they count nothing here.
    """
    if status == MessageStatus.SENT or status in ENDS:
        counts = status_counts(status)
        sheet.count(counts, at=at, channel=channel, provider=provider, times=times)


class _Counted(Protocol):
    """What the statistics keep apart."""

    @property
    def channel(self) -> int: ...
    @property
    def provider(self) -> str: ...


def count_end(
    sheet: TallySheet, message: _Counted, status: int, *, now: datetime
) -> None:
    """Count a message, Queued or Sending so far, that has this status from now on."""
    count_arrival(
        sheet, status, channel=message.channel, provider=message.provider, at=now
    )


def count_move(
    sheet: TallySheet, *, before: CampaignMessage, after: CampaignMessage
) -> None:
    """Take back what the row counted for before, and count what it is now."""
    for at, counts in _parts(before):
        sheet.take_back(counts, at=at, channel=before.channel, provider=before.provider)
    for at, counts in _parts(after):
        sheet.count(counts, at=at, channel=after.channel, provider=after.provider)


def counted_messages(*, since: date) -> TallySheet:
    """What the messages on record count for, from a day on."""
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
    """How many messages are alike, by the day of a column: one pass over them all."""
    was_sent = ExpressionWrapper(Q(sent_at__isnull=False), output_field=BooleanField())
    rows = (
        CampaignMessage.objects.order_by()
        .filter(**{f"{column}__gte": datetime.combine(since, time.min, UTC)})
        .annotate(day=TruncDate(column, tzinfo=UTC), was_sent=was_sent)
        .values_list("day", "channel", "provider", "status", "was_sent")
    )
    for day, channel, provider, status, sent, count in rows.annotate(Count("id")):
        yield Key(day, channel, provider), status, bool(sent), count


def _parts(message: CampaignMessage) -> Iterator[tuple[datetime, Counts]]:
    if message.sent_at:
        yield message.sent_at, status_counts(MessageStatus.SENT)
    if message.status in ENDS and message.finished_at:
        was_sent = message.sent_at is not None
        yield message.finished_at, status_counts(message.status, was_sent=was_sent)
