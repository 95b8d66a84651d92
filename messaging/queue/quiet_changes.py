"""Changed quiet hours: messages that wait for the old ones are checked again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Q

from messaging.models import Campaign, CampaignMessage
from messaging.queue.claim_sql import Place
from messaging.queue.coordination import notify_workers
from messaging.rules.quiet_hours import QuietHours, is_outdated
from messaging.transitions import BATCH
from routing.sql_rows import as_text
from routing.vocabulary import MessageStatus

# A claim under way may still use the old hours; a second review finds the messages that
# it defers.
AGAIN_AFTER = timedelta(seconds=5)


_LANE = f"""
SELECT id, CAST(due_at AS text), status_reason FROM messaging_campaignmessage {{hint}}
WHERE campaign_id = %s AND status = {MessageStatus.QUEUED:d} AND {{after}}
ORDER BY due_at, id LIMIT %s
"""  # noqa: S608 - our own text
_AFTER = _LANE.format(hint="", after="(due_at, id) > (%s, %s)")
# For _AFTER, SQLite uses only the time in its index, and each batch would reread all
# messages with the same due time. Without the hint it scans by id.
_SAME_TIME = _LANE.format(
    hint="INDEXED BY message_due", after="due_at = %s AND id > %s"
)
_LATER = _LANE.format(hint="", after="due_at > %s")


class _Waiting(NamedTuple):
    """A message that waits for its time."""

    pk: int
    due_at: str  # in the database's own format
    reason: str


class _Review:
    """One pass through a campaign's queue, under its current quiet hours."""

    def __init__(
        self,
        campaign_id: int,
        hours: QuietHours | None,
        *,
        now: datetime,
        repeat_at: datetime | None = None,
    ) -> None:
        self.hours = hours
        self._campaign_id = campaign_id
        self._place = Place(as_text(now), 0)  # after the messages that are due
        self._repeat_at = repeat_at
        self._is_done = False

    def is_to_repeat(self, now: datetime) -> bool:
        """Whether it is done, and due for a second pass."""
        return self._is_done and self._repeat_at is not None and now >= self._repeat_at

    def go_on(self, limit: int, now: datetime) -> int:
        """Check at most `limit` more messages; returns how many were checked."""
        if self._is_done:
            return 0
        waiting = _next(self._place, self._campaign_id, limit)
        _make_due([m for m in waiting if is_outdated(m.reason, self.hours, now)], now)
        self._is_done = len(waiting) < limit
        if waiting:
            self._place = Place(waiting[-1].due_at, waiting[-1].pk)
        return len(waiting)


class QuietChanges:
    """One worker's reviews of messages that wait for quiet hours to end.

    Each campaign's queue is reviewed when the worker starts (no worker may have been
    running when the hours changed), and again after each change.
    """

    def __init__(self) -> None:
        self._reviews: dict[int, _Review] = {}  # by campaign

    def review(self, *, now: datetime) -> bool:
        """Check at most BATCH messages; returns whether there are more."""
        known = self._reviews
        self._reviews = {
            pk: _next_review(known.get(pk), pk, hours, now)
            for pk, hours in _hours_of_campaigns(now)
        }
        room = BATCH
        for review in self._reviews.values():
            room -= review.go_on(room, now)
            if room <= 0:
                return True
        return False


def _next_review(
    known: _Review | None, campaign_id: int, hours: QuietHours | None, now: datetime
) -> _Review:
    if known is None or known.is_to_repeat(now):
        return _Review(campaign_id, hours, now=now)
    if known.hours == hours:
        return known
    return _Review(campaign_id, hours, now=now, repeat_at=now + AGAIN_AFTER)


def _hours_of_campaigns(now: datetime) -> list[tuple[int, QuietHours | None]]:
    """The quiet hours of all campaigns that may have messages waiting for their end."""
    begun = Campaign.objects.running().order_by("pk")
    begun = begun.filter(Q(scheduled_at=None) | Q(scheduled_at__lte=now))
    fields = ("kind", "is_standing", "quiet_from", "quiet_until")
    return [(each.pk, each.quiet_hours) for each in begun.only(*fields)]


def _next(place: Place, campaign_id: int, limit: int) -> list[_Waiting]:
    """The next messages of a lane after this place."""
    due_at, pk = place
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_AFTER, [campaign_id, due_at, pk, limit])
            rows = cursor.fetchall()
        else:
            cursor.execute(_SAME_TIME, [campaign_id, due_at, pk, limit])
            rows = cursor.fetchall()
            cursor.execute(_LATER, [campaign_id, due_at, limit - len(rows)])
            rows += cursor.fetchall()
    return [_Waiting(*row) for row in rows]


def _make_due(waiting: Sequence[_Waiting], now: datetime) -> None:
    """Make the messages due, so that the gate checks them against the new hours.

    Rows locked by another worker are left to it.
    """
    if not waiting:
        return
    unchanged = CampaignMessage.objects.queued().filter(
        pk__in=[each.pk for each in waiting],
        status_reason__in={each.reason for each in waiting},
    )
    with transaction.atomic():
        locked = unchanged.select_for_update(skip_locked=True).order_by("pk")
        ids = list(locked.values_list("pk", flat=True))
        CampaignMessage.objects.filter(pk__in=ids).update(due_at=now, status_reason="")
        notify_workers()
