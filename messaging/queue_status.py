"""How the queue and its campaigns stand just now, for people who look.

Nothing here counts further than a limit: a look costs the same whatever there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, QuerySet

from messaging.models import Campaign, CampaignMessage
from messaging.queries import oldest_due_at
from messaging.vocabulary import CampaignStatus

COUNT_AT_MOST = 10_000
# A campaign's progress is worth more: some 10 ms for each that has so many left.
COUNT_OF_CAMPAIGN_AT_MOST = 50_000


@dataclass(frozen=True, slots=True)
class Counted:
    """How many there are, counted no further than a limit."""

    number: int
    is_all: bool = True

    def __str__(self) -> str:
        return f"{self.number:,}" if self.is_all else f"over {self.number:,}"

    def __bool__(self) -> bool:
        return self.number > 0


def count_up_to(limit: int, rows: QuerySet[Any]) -> Counted:
    """Count the rows, but no more of them than the limit.

    They should be in the order of an index: else the first ones that match may be
    looked for in the table, behind all that was sent in years.
    """
    found = rows[: limit + 1].count()
    return Counted(min(found, limit), is_all=found <= limit)


# Queued messages of each running campaign: the index of what is due is read in its
# order, and no further than the limit.
COUNT_OF_LANES = """
SELECT (SELECT COUNT(*) FROM (
    SELECT 1 FROM messaging_campaignmessage AS m
    WHERE m.campaign_id = c.id AND m.status = 0 AND m.due_at {compared} %s
    ORDER BY m.due_at, m.id LIMIT %s) AS queued)
FROM messaging_campaign AS c WHERE c.status = 1
"""


def _count_queued(compared: str, now: datetime, at_most: int) -> Counted:
    """Queued messages of running campaigns whose time is `<=` or `>` now."""
    with connection.cursor() as cursor:
        sql = COUNT_OF_LANES.format(compared=compared)
        cursor.execute(sql, [now, at_most + 1])
        counts = [count for (count,) in cursor]
    number = sum(min(count, at_most) for count in counts)
    return Counted(number, is_all=all(count <= at_most for count in counts))


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the queue holds just now."""

    due: Counted  # of running campaigns
    later: Counted  # scheduled, or waiting to be tried again
    in_flight: Counted  # a worker is at it
    unknown: Counted  # may have been sent: waits for word of it
    oldest_due_at: datetime | None


def queue_status(*, now: datetime, at_most: int = COUNT_AT_MOST) -> QueueStatus:
    """What the queue holds just now; of each campaign no more than `at_most`."""
    sending = CampaignMessage.objects.sending().order_by("lease_expires_at")
    held = sending[: at_most + 1]
    counts = held.aggregate(all=Count("pk"), unknown=Count("unknown_since"))
    is_all = counts["all"] <= at_most
    return QueueStatus(
        due=_count_queued("<=", now, at_most),
        later=_count_queued(">", now, at_most),
        in_flight=Counted(counts["all"] - counts["unknown"], is_all),
        unknown=Counted(counts["unknown"], is_all),
        oldest_due_at=oldest_due_at(now),
    )


@dataclass(frozen=True, slots=True)
class CampaignStanding:
    """How far a campaign is."""

    campaign: Campaign
    waiting: Counted
    next_due_at: datetime | None

    @property
    def is_paused(self) -> bool:
        """Whether somebody holds it back."""
        return self.campaign.status == CampaignStatus.PAUSED

    @property
    def gone(self) -> int | None:
        """How many have left the queue; None where that is not known."""
        total = self.campaign.message_count
        if total is None or not self.waiting.is_all:
            return None
        return max(0, total - self.waiting.number)


def campaigns_under_way(*, at_most: int) -> Iterator[CampaignStanding]:
    """Running and paused campaigns, the most urgent first."""
    under_way = Campaign.objects.visible().filter(
        status__in=[CampaignStatus.RUNNING, CampaignStatus.PAUSED]
    )
    for campaign in under_way.order_by("status", "-priority", "-pk")[:at_most]:
        waiting = campaign.messages.queued().order_by("due_at", "id")
        counted = count_up_to(COUNT_OF_CAMPAIGN_AT_MOST, waiting)
        due = waiting.values_list("due_at", flat=True)
        yield CampaignStanding(campaign, counted, next_due_at=due.first())
