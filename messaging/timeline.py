"""A message's timeline and costs, for screens and endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Sum

from messaging.models import BulkJob, BulkJobMessage, CampaignMessage
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.money import Money
from routing.text.quantities import quantity
from routing.vocabulary import AttemptOutcome, MessageStatus


def costs_of(message: CampaignMessage) -> list[Money]:
    """The known costs of its attempts so far, by currency."""
    sums = (
        message.attempts.exclude(cost=None)
        .order_by("currency")
        .values_list("currency")
        .annotate(Sum("cost"))
    )
    return [Money(amount, currency) for currency, amount in sums]


RECORDED_WITHIN = timedelta(seconds=5)
# By the status of a message, or the one that a receipt gives it.
LEVELS = {
    MessageStatus.DELIVERED: "ok",
    MessageStatus.FAILED: "fail",
    MessageStatus.BOUNCED: "fail",
    MessageStatus.EXPIRED: "warn",
}
_OUTCOME_LEVELS = {
    AttemptOutcome.ACCEPTED: "ok",
    AttemptOutcome.REJECTED: "fail",
    AttemptOutcome.UNKNOWN: "warn",
}
DUPLICATE = "Two attempts seem to have got through."


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One event in a message's life, for people to read."""

    at: datetime
    title: str
    facts: list[str]
    decision: dict[str, Any] | None = None
    level: str = "quiet"  # ok, warn, fail, wait or quiet; act: a person did it


def timeline_of(
    message: CampaignMessage, acts: Iterable[TimelineEntry] = ()
) -> list[TimelineEntry]:
    """Everything that happened to a message, causes before their effects; with what
    people did, if it is given.
    """
    given = list(acts)
    steps = [
        *_steps(message, [each.at for each in given]),
        *(_step(each, 1, message.created_at) for each in given),
    ]
    return [step.entry for step in sorted(steps, key=_order)]


def acts_of_jobs(message_id: int) -> list[TimelineEntry]:
    """The bulk jobs that came to a message: who wanted what, and why."""
    found = BulkJobMessage.objects.filter(message_id=message_id, is_done=True)
    return [_act_entry(each.job) for each in found.select_related("job").order_by("pk")]


def _act_entry(job: BulkJob) -> TimelineEntry:
    """A job keeps the reasons of refusals for all its messages together."""
    facts = [job.reason, f"job {job.pk}, {quantity(job.count, 'message')}"]
    if job.count == 1 and job.refused:
        facts += [f"left alone: {reason}" for reason in job.refused]
    elif job.refused:
        facts.append(f"{job.left_alone:,} of them were left alone")
    title = f"{job.get_act_display()}, asked for by {job.asked_by}"
    return TimelineEntry(job.started_at or job.asked_at, title, facts, level="act")


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


def _steps(message: CampaignMessage, acted_at: Sequence[datetime]) -> Iterator[_Step]:
    queued = _step(TimelineEntry(message.created_at, "Queued", []), 0)
    yield queued
    made, latest = {0: queued.at}, queued.at
    for attempt in message.attempts.all():
        step = _step(_attempt_entry(attempt), 2, latest)
        yield step
        if not attempt.is_late:
            latest = made[attempt.attempt_number] = step.at
    ends = [latest]
    for receipt in message.receipts.all():
        cause = made.get(receipt.attempt_number or 0, queued.at)
        step = _step(_receipt_entry(receipt, message), 3, cause)
        yield step
        if receipt.status == message.status and len(ends) == 1:
            ends.append(step.at)  # the first that said so
    yield from _last_steps(message, latest, ends, acted_at)


def _last_steps(
    message: CampaignMessage,
    latest: datetime,
    ends: Sequence[datetime],
    acted_at: Sequence[datetime],
) -> Iterator[_Step]:
    """How it stands. `latest` is the last attempt, `ends` is what an end follows."""
    if at := message.double_risk_at:
        doubled = TimelineEntry(at, "Possible duplicate", [DUPLICATE], level="warn")
        yield _step(doubled, 4)
    if at := message.finished_at:
        yield _step(_end_entry(message, at), 5, *ends, *_just_after(at, acted_at))
    if message.status == MessageStatus.QUEUED:
        title = "Next try" if message.attempt_count else "Leaves"
        reasons = _reason_of(message)
        next_try = TimelineEntry(message.due_at, title, reasons, level="wait")
        if message.attempt_count or reasons or message.due_at > message.created_at:
            acts = _just_after(message.due_at, acted_at)
            yield _step(next_try, 6, latest, *acts)


def _just_after(at: datetime, acted_at: Sequence[datetime]) -> list[datetime]:
    """An act is recorded after the time that it writes, in the same transaction."""
    return [each for each in acted_at if at <= each <= at + RECORDED_WITHIN]


def _end_entry(message: CampaignMessage, at: datetime) -> TimelineEntry:
    title, level = message.get_status_display(), _level(message.status)
    return TimelineEntry(at, title, _reason_of(message), level=level)


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
        _OUTCOME_LEVELS[AttemptOutcome(attempt.outcome)],
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
        level="quiet" if receipt.status is None else _level(receipt.status),
    )


def _level(status: int) -> str:
    return LEVELS.get(MessageStatus(status), "quiet")


def _error(code: str, message: str) -> str:
    return ": ".join(filter(None, [f"error {code}".strip(), message]))
