"""What happened minute by minute, in the last two days: for the front page.

Added up from the entries as they are compacted, which workers do once a second. It
follows what happens by that second, and costs nothing where messages are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import QuerySet, Sum

from routing.models import MinuteCount, StatisticsEntry
from routing.rules.tally import Tally
from routing.vocabulary import AttemptOutcome, MessageStatus

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=2, hours=1)  # today is compared with yesterday


class Place(NamedTuple):
    """Where something was counted. The provider is blank if none was chosen yet."""

    channel: int
    provider: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened within some minutes."""

    attempts: int = 0
    accepted: int = 0
    unknown: int = 0
    queued: int = 0
    sent: int = 0
    delivered: int = 0
    failed: int = 0

    @property
    def not_accepted(self) -> int:
        """Attempts that were refused, or may have been."""
        return self.attempts - self.accepted

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) + getattr(other, n) for n in NAMES))


NAMES = tuple(each.name for each in fields(Counts))
_SUMS = {f"sum_{name}": Sum(name) for name in NAMES}


def counts_of(tally: Tally) -> Counts:
    """The numbers of a tally that are kept by the minute."""
    lost = (MessageStatus.FAILED, MessageStatus.BOUNCED)
    return Counts(
        attempts=tally.attempts,
        accepted=tally.outcome(AttemptOutcome.ACCEPTED),
        unknown=tally.outcome(AttemptOutcome.UNKNOWN),
        queued=tally.messages(MessageStatus.QUEUED),
        sent=tally.messages(MessageStatus.SENT),
        delivered=tally.messages(MessageStatus.DELIVERED),
        failed=sum(map(tally.messages, lost)),
    )


def minute_of(at: datetime) -> datetime:
    """The beginning of its minute."""
    return at.replace(second=0, microsecond=0)


def note_minutes(entries: Iterable[StatisticsEntry]) -> None:
    """Add entries to their minutes; within the transaction that compacts them.

    Rows that another worker has locked are not waited for: a second one is written.
    """
    new: dict[tuple[datetime, Place], Counts] = {}
    for each in entries:
        counts = counts_of(Tally(each.tally))
        if each.counted_at is not None and counts != Counts():
            key = minute_of(each.counted_at), Place(each.channel, each.provider)
            new[key] = new.get(key, Counts()) + counts
    if new:
        _add(new)


def _add(new: Mapping[tuple[datetime, Place], Counts]) -> None:
    rows = MinuteCount.objects.select_for_update(skip_locked=True)
    found = {
        (row.minute, Place(row.channel, row.provider)): row
        for row in rows.filter(minute__in={minute for minute, _ in new})
    }
    unwritten = []
    for (minute, place), counts in new.items():
        row = found.get((minute, place))
        if row is None:
            row = MinuteCount(minute=minute, **place._asdict())
            unwritten.append(row)
        for name in NAMES:
            setattr(row, name, getattr(row, name) + getattr(counts, name))
    MinuteCount.objects.bulk_update([found[key] for key in found if key in new], NAMES)
    MinuteCount.objects.bulk_create(unwritten)


def forget_old_minutes(*, now: datetime) -> None:
    """Clear away what is of no use any more."""
    MinuteCount.objects.filter(minute__lt=now - KEPT).delete()


def total_counts(*, since: datetime, until: datetime) -> Counts:
    """What happened in the minutes that begin within this time."""
    sums = _within(since, until).aggregate(**_SUMS)
    return Counts(*(value or 0 for value in sums.values()))


def counts_by_minute(
    *, since: datetime, until: datetime
) -> dict[Place, dict[datetime, Counts]]:
    """The same for each minute that had something to count."""
    rows = _within(since, until).values_list("channel", "provider", "minute")
    found: dict[Place, dict[datetime, Counts]] = {}
    for row in rows.annotate(**_SUMS).order_by():
        found.setdefault(Place(*row[:2]), {})[row[2]] = Counts(*row[3:])
    return found


def _within(since: datetime, until: datetime) -> QuerySet[MinuteCount]:
    return MinuteCount.objects.filter(minute__gte=since, minute__lt=until)
