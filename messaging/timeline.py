"""A message's timeline and costs, for screens and endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Sum

from messaging.models import CampaignMessage
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.money import Money
from routing.text.quantities import quantity
from routing.vocabulary import MessageStatus


def costs_of(message: CampaignMessage) -> list[Money]:
    """The known costs of its attempts so far, by currency."""
    sums = (
        message.attempts.exclude(cost=None)
        .order_by("currency")
        .values_list("currency")
        .annotate(Sum("cost"))
    )
    return [Money(amount, currency) for currency, amount in sums]


DUPLICATE = "Two attempts seem to have got through."


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One event in a message's life, for people to read."""

    at: datetime
    title: str
    facts: list[str]
    decision: dict[str, Any] | None = None


def timeline_of(message: CampaignMessage) -> list[TimelineEntry]:
    """Everything that happened to a message, in order of time."""
    entries = [
        TimelineEntry(message.created_at, "Queued", []),
        *map(_attempt_entry, message.attempts.all()),
        *(_receipt_entry(each, message) for each in message.receipts.all()),
    ]
    if message.double_risk_at:
        entries.append(
            TimelineEntry(message.double_risk_at, "Possible duplicate", [DUPLICATE])
        )
    if message.status == MessageStatus.QUEUED and message.attempt_count:
        entries.append(TimelineEntry(message.due_at, "Next try", _reason_of(message)))
    if message.finished_at:
        entries.append(_end_entry(message, message.finished_at))
    return sorted(entries, key=lambda entry: entry.at)


def _end_entry(message: CampaignMessage, at: datetime) -> TimelineEntry:
    return TimelineEntry(at, message.get_status_display(), _reason_of(message))


def _reason_of(message: CampaignMessage) -> list[str]:
    return [message.status_reason] if message.status_reason else []


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
        str(Money(attempt.cost, attempt.currency)) if attempt.cost is not None else "",
        f"{attempt.response_time_ms} ms"
        if attempt.response_time_ms is not None
        else "",
        f"in one call with {quantity(others, 'other message')}"
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
    facts = [f"for attempt {number}" + ("" if was_made else ", which was never made")]
    if receipt.error_code or receipt.error_message:
        kind = receipt.get_error_class_display() or ""
        error = _error(receipt.error_code, receipt.error_message)
        facts.append(f"{kind} {error}".strip())
    return TimelineEntry(
        receipt.received_at,
        f"{receipt.provider} says {receipt.provider_status}",
        facts,
    )


def _error(code: str, message: str) -> str:
    return ": ".join(filter(None, [f"error {code}".strip(), message]))
