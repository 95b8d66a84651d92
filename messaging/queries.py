"""What screens, endpoints and workers read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, OuterRef, Subquery, Sum

from messaging.models import Campaign, CampaignMessage
from routing.costs import Money
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.vocabulary import Channel, MessageStatus


def is_work_waiting(now: datetime) -> bool:
    """Whether a worker would find something to send, to recover or to withdraw."""
    return (
        Campaign.objects.with_due_messages(now).exists()
        or CampaignMessage.objects.lease_expired(now).exists()
        or Campaign.objects.with_messages_to_withdraw(now).exists()
    )


def oldest_due_at(now: datetime, channel: Channel | None = None) -> datetime | None:
    """Since when the message has been due that has waited longest; None if none is.

    Of one channel, or of all. One index probe per running campaign.
    """
    first = CampaignMessage.objects.due(now).filter(campaign=OuterRef("pk"))
    running = Campaign.objects.running().annotate(
        first_due_at=Subquery(first.order_by("due_at").values("due_at")[:1])
    )
    if channel is not None:
        running = running.filter(channel=channel)
    oldest: datetime | None = running.aggregate(oldest=Min("first_due_at"))["oldest"]
    return oldest


@dataclass(frozen=True, slots=True)
class CampaignProgress:
    """How far campaigns are, in messages per status."""

    by_status: dict[MessageStatus, int]
    next_due_at: datetime | None
    next_reason: str = ""  # why the first one waits until then, if it was put off

    @property
    def total(self) -> int:
        """All messages."""
        return sum(self.by_status.values())

    @property
    def counts(self) -> list[dict[str, int]]:
        """Every status with its messages, also those with none."""
        return [
            {"status": status, "count": self.by_status.get(status, 0)}
            for status in MessageStatus
        ]

    @property
    def left(self) -> int:
        """Those that are still to be handed over, or to be known of."""
        return self.by_status.get(MessageStatus.QUEUED, 0) + self.by_status.get(
            MessageStatus.SENDING, 0
        )

    @property
    def share_done(self) -> float:
        """From 0 to 1; 1 when there are no messages."""
        return 1 - self.left / self.total if self.total else 1.0


def progress_of(campaign_ids: Sequence[int]) -> CampaignProgress:
    """The progress of campaigns, taken together.

    What is queued of a cancelled one counts as cancelled: it does not leave, and the
    workers are about to withdraw it.
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


def costs_of(message: CampaignMessage) -> list[Money]:
    """What its attempts have cost so far, as far as that is known; by currency."""
    sums = (
        message.attempts.exclude(cost=None)
        .order_by("currency")
        .values_list("currency")
        .annotate(Sum("cost"))
    )
    return [Money(amount, currency) for currency, amount in sums]


DOUBLED = "Two attempts are taken to have got through."


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to a message, for people to read."""

    at: datetime
    title: str
    facts: list[str]
    decision: dict[str, Any] | None = None


def timeline_of(message: CampaignMessage) -> list[TimelineEntry]:
    """All that happened to a message, in order of time."""
    entries = [
        TimelineEntry(message.created_at, "Queued", []),
        *map(_attempt_entry, message.attempts.all()),
        *(_receipt_entry(each, message) for each in message.receipts.all()),
    ]
    if message.double_risk_at:
        entries.append(TimelineEntry(message.double_risk_at, "Double risk", [DOUBLED]))
    if message.finished_at:
        entries.append(_end_entry(message, message.finished_at))
    return sorted(entries, key=lambda entry: entry.at)


def _end_entry(message: CampaignMessage, at: datetime) -> TimelineEntry:
    reason = [message.status_reason] if message.status_reason else []
    return TimelineEntry(at, message.get_status_display(), reason)


def _attempt_entry(attempt: MessageDeliveryAttempt) -> TimelineEntry:
    late = " (late)" if attempt.is_late else ""
    facts = [
        f"{attempt.get_error_class_display()} "
        f"{_error(attempt.error_code, attempt.error_message)}"
        if attempt.error_class is not None
        else "",
        f"fallback: {attempt.get_fallback_reason_display()}"
        if attempt.fallback_reason is not None
        else "",
        f"provider's id {attempt.external_message_id}"
        if attempt.external_message_id
        else "",
        f"{attempt.cost} {attempt.currency}" if attempt.cost is not None else "",
        f"{attempt.response_time_ms} ms"
        if attempt.response_time_ms is not None
        else "",
        f"in one call with {others} others"
        if (others := attempt.decision.get("shared_with"))
        else "",
    ]
    return TimelineEntry(
        attempt.attempted_at,
        f"Attempt {attempt.attempt_number} by {attempt.provider}: "
        f"{attempt.get_outcome_display()}{late}",
        [fact for fact in facts if fact],
        attempt.decision or None,
    )


def _receipt_entry(receipt: DeliveryReceipt, message: CampaignMessage) -> TimelineEntry:
    number = receipt.attempt_number or 0
    was_made = number <= message.attempt_count
    facts = [f"about attempt {number}" + ("" if was_made else ", which was never made")]
    if receipt.error_code or receipt.error_message:
        facts.append(_error(receipt.error_code, receipt.error_message))
    return TimelineEntry(
        receipt.received_at,
        f"{receipt.provider} says {receipt.provider_status}",
        facts,
    )


def _error(code: str, message: str) -> str:
    return ": ".join(filter(None, [f"error {code}".strip(), message]))
