"""A message's timeline and costs, for screens and endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

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
    """Everything that happened to a message, causes before their effects."""
    return [step.entry for step in sorted(_steps(message), key=_order)]


class _Step(NamedTuple):
    """An entry, and its place: after what stands earlier, or as early but at a lower
    rank. A provider's time may lie before what caused it: it has no fractions of a
    second, or is by another clock.
    """

    at: datetime
    rank: int
    entry: TimelineEntry


def _order(step: _Step) -> tuple[datetime, int]:
    return step.at, step.rank


def _step(entry: TimelineEntry, rank: int, *causes: datetime) -> _Step:
    return _Step(max([entry.at, *causes]), rank, entry)


def _steps(message: CampaignMessage) -> Iterator[_Step]:
    queued = _step(TimelineEntry(message.created_at, "Queued", []), 0)
    yield queued
    made, latest = {0: queued.at}, queued.at
    for attempt in message.attempts.all():
        step = _step(_attempt_entry(attempt), 1, latest)
        yield step
        if not attempt.is_late:
            latest = made[attempt.attempt_number] = step.at
    ends = [latest]
    for receipt in message.receipts.all():
        cause = made.get(receipt.attempt_number or 0, queued.at)
        step = _step(_receipt_entry(receipt, message), 2, cause)
        yield step
        if receipt.status == message.status and len(ends) == 1:
            ends.append(step.at)  # the first that said so
    if at := message.double_risk_at:
        yield _step(TimelineEntry(at, "Possible duplicate", [DUPLICATE]), 3)
    if at := message.finished_at:
        yield _step(_end_entry(message, at), 4, *ends)
    if message.status == MessageStatus.QUEUED and message.attempt_count:
        next_try = TimelineEntry(message.due_at, "Next try", _reason_of(message))
        yield _step(next_try, 5, latest)


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
