"""Changed quiet hours: what waits for those of before is looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Q

from messaging.models import Campaign, CampaignMessage
from messaging.queue.claim_sql import Place
from messaging.queue.wakeup import notify_workers
from messaging.rules.quiet_hours import QuietHours, is_outdated
from messaging.transitions import BATCH
from routing.sql_rows import as_text
from routing.vocabulary import MessageStatus

# A claim may go by the hours of a moment before: what it puts off meanwhile is found by
# a second review.
AGAIN_AFTER = timedelta(seconds=5)

# By the index of what is due. The ORM has no documented way to go on behind a place,
# and without one all that have the same time would be read again for each batch.
_LATER = f"""
SELECT m.id, CAST(m.due_at AS text), m.status_reason
FROM messaging_campaignmessage AS m
WHERE m.campaign_id = %s AND m.status = {MessageStatus.QUEUED:d}
    AND (m.due_at, m.id) > (%s, %s) ORDER BY m.due_at, m.id LIMIT %s
"""  # noqa: S608 - our own text


class _Waiting(NamedTuple):
    """A message that waits for its time."""

    pk: int
    due_at: str  # as the database writes it
    reason: str


class _Review:
    """One way through a campaign's queue, under the quiet hours that it has."""

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
        self._place = Place(as_text(now), 0)  # behind what is due
        self._repeat_at = repeat_at
        self._is_done = False

    def is_to_repeat(self, now: datetime) -> bool:
        """Whether it is over, and its time has come once more."""
        return self._is_done and self._repeat_at is not None and now >= self._repeat_at

    def go_on(self, room: int, now: datetime) -> int:
        """Look through as many as there is room for; returns how many that were."""
        if self._is_done:
            return 0
        waiting = _later(self._campaign_id, self._place, room)
        _look_again([m for m in waiting if is_outdated(m.reason, self.hours, now)], now)
        self._is_done = len(waiting) < room
        if waiting:
            self._place = Place(waiting[-1].due_at, waiting[-1].pk)
        return len(waiting)


class QuietChanges:
    """One worker's reviews of what waits for quiet hours.

    It goes through each campaign's queue once, and again when the hours have changed.
    Also when it starts: there may have been no worker to see them change.
    """

    def __init__(self) -> None:
        self._reviews: dict[int, _Review] = {}  # by campaign

    def review(self, *, now: datetime) -> bool:
        """Go through at most a batch of messages; whether there are more."""
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
    """Those of all campaigns of which something may wait for their end."""
    begun = Campaign.objects.running().order_by("pk")
    begun = begun.filter(Q(scheduled_at=None) | Q(scheduled_at__lte=now))
    fields = ("kind", "is_standing", "quiet_from", "quiet_until")
    return [(each.pk, each.quiet_hours) for each in begun.only(*fields)]


def _later(campaign_id: int, after: Place, limit: int) -> list[_Waiting]:
    with connection.cursor() as cursor:
        cursor.execute(_LATER, [campaign_id, *after, limit])
        return [_Waiting(*row) for row in cursor.fetchall()]


def _look_again(waiting: Sequence[_Waiting], now: datetime) -> None:
    """Let the gate see them: those that it is still quiet for go on waiting.

    What another worker has in hand is left to it.
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
