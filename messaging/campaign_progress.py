"""How far campaigns are, in messages per status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from messaging.models import Campaign, CampaignMessage
from routing.vocabulary import MessageStatus


@dataclass(frozen=True, slots=True)
class CampaignProgress:
    """How far campaigns are, in messages per status."""

    by_status: dict[MessageStatus, int]
    next_due_at: datetime | None
    next_reason: str = ""  # why the next message was deferred, if it was

    @property
    def total(self) -> int:
        """All messages."""
        return sum(self.by_status.values())

    @property
    def counts(self) -> list[dict[str, int]]:
        """The number of messages per status, including zeros."""
        return [
            {"status": status, "count": self.by_status.get(status, 0)}
            for status in MessageStatus
        ]

    @property
    def left(self) -> int:
        """Messages that are not sent yet, or whose outcome is not known yet."""
        return self.by_status.get(MessageStatus.QUEUED, 0) + self.by_status.get(
            MessageStatus.SENDING, 0
        )

    @property
    def lost(self) -> int:
        """Messages that failed, or bounced after a provider took them."""
        return self.by_status.get(MessageStatus.FAILED, 0) + self.by_status.get(
            MessageStatus.BOUNCED, 0
        )

    @property
    def share_done(self) -> float:
        """From 0 to 1; 1 when there are no messages."""
        return 1 - self.left / self.total if self.total else 1.0


def progress_of(campaign_ids: Sequence[int]) -> CampaignProgress:
    """The combined progress of campaigns.

    A cancelled campaign's queued messages count as cancelled: they do not leave, and
    the workers are about to withdraw them.
    """
    chosen = Campaign.objects.filter(pk__in=campaign_ids)
    over = set(chosen.cancelled().values_list("pk", flat=True))
    messages = CampaignMessage.objects.filter(campaign__in=campaign_ids)
    counts = messages.order_by().values_list("campaign", "status").annotate(Count("id"))
    by_status: Counter[MessageStatus] = Counter()
    for campaign, status, count in counts:
        is_as_good_as_over = campaign in over and status == MessageStatus.QUEUED
        by_status[
            MessageStatus.CANCELLED if is_as_good_as_over else MessageStatus(status)
        ] += count
    first = messages.exclude(campaign__in=over).queued().order_by("due_at", "id")
    due_at, reason = first.values_list("due_at", "status_reason").first() or (None, "")
    return CampaignProgress(
        by_status=dict(by_status), next_due_at=due_at, next_reason=reason
    )
