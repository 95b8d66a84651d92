"""Did an attempt get through? Decided from attempts and receipts together.

The answer is the same everywhere: for receipts, for late results, for what operators
may do, and for the mark on possible duplicates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from django.db.models import F

from messaging.models import CampaignMessage
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

# The event id of a receipt that records a failed look-up ends with this.
NOT_FOUND = "not found"


class Verdict(Enum):
    """What is known about an attempt, from all evidence."""

    GOT_THROUGH = auto()  # accepted or reported sent, and not reported failed
    CAME_BACK = auto()  # its provider reported later that it failed or bounced
    NOT_SENT = auto()  # certainly
    UNKNOWN = auto()


@dataclass(slots=True)
class Evidence:
    """What is on record about one attempt."""

    outcome: AttemptOutcome | None = None  # as first recorded; None: not yet
    late_outcomes: set[AttemptOutcome] = field(default_factory=set)
    receipts: set[MessageStatus] = field(default_factory=set)  # their statuses
    is_missing: bool = False  # a look-up did not find it at its provider

    def verdict(self, channel: Channel) -> Verdict:
        """The conclusion from this evidence.

        Delivered is proof, but an e-mail may bounce afterwards. A failed look-up does
        not outweigh a later receipt: it may have come too early.
        """
        if channel == Channel.EMAIL and MessageStatus.BOUNCED in self.receipts:
            return Verdict.CAME_BACK
        if MessageStatus.DELIVERED in self.receipts:
            return Verdict.GOT_THROUGH
        if self.receipts & {MessageStatus.FAILED, MessageStatus.BOUNCED}:
            return Verdict.CAME_BACK
        outcomes = {self.outcome, *self.late_outcomes}
        if MessageStatus.SENT in self.receipts or AttemptOutcome.ACCEPTED in outcomes:
            return Verdict.GOT_THROUGH
        is_unknown = self.outcome == AttemptOutcome.UNKNOWN
        is_certain = self.is_missing or AttemptOutcome.REJECTED in self.late_outcomes
        return Verdict.UNKNOWN if is_unknown and not is_certain else Verdict.NOT_SENT


# By attempt number.
History = Mapping[int, Evidence]


def histories_of(message_ids: Collection[int]) -> dict[int, History]:
    """The evidence on the attempts of messages, in two queries.

    Receipts for attempts that were never made do not count.
    """
    found: dict[int, dict[int, Evidence]] = {pk: {} for pk in message_ids}
    if not found:
        return {}
    attempts = MessageDeliveryAttempt.objects.filter(message__in=found)
    for message, number, outcome, is_late in attempts.order_by().values_list(
        "message_id", "attempt_number", "outcome", "is_late"
    ):
        evidence = found[message].setdefault(number, Evidence())
        if is_late:
            evidence.late_outcomes.add(AttemptOutcome(outcome))
        else:
            evidence.outcome = AttemptOutcome(outcome)
    receipts = DeliveryReceipt.objects.filter(
        message__in=found, attempt_number__lte=F("message__attempt_count")
    )
    for message, about, status, event_id in receipts.order_by().values_list(
        "message_id", "attempt_number", "status", "event_id"
    ):
        evidence = found[message or 0].setdefault(about or 0, Evidence())
        evidence.is_missing |= event_id.endswith(f":{NOT_FOUND}")
        if status is not None:
            evidence.receipts.add(MessageStatus(status))
    return dict(found)


def perhaps_sent(messages: Collection[CampaignMessage]) -> set[int]:
    """Those with an attempt that got through, or whose outcome is still unknown."""
    histories = histories_of([each.pk for each in messages])
    return {
        each.pk
        for each in messages
        if each.is_outcome_unknown
        or any(
            one.verdict(Channel(each.channel)) in (Verdict.GOT_THROUGH, Verdict.UNKNOWN)
            for one in histories[each.pk].values()
        )
    }


def known_as_sent(message_ids: Collection[int]) -> set[int]:
    """Those with an attempt whose outcome was unknown, and that proved to be sent."""
    return {
        message
        for message, history in histories_of(message_ids).items()
        if any(_was_unknown_but_sent(each) for each in history.values())
    }


def mark_possible_duplicates(message_ids: Collection[int], *, now: datetime) -> None:
    """Mark messages where more than one attempt seems to have got through.

    They cannot be recalled, but operators see them. Call this within the transaction
    that wrote the results or receipts.
    """
    if not message_ids:
        return
    histories = histories_of(message_ids)
    messages = CampaignMessage.objects.filter(pk__in=histories, double_risk_at=None)
    duplicates = [
        pk
        for pk, channel in messages.values_list("pk", "channel")
        if _count_of_arrivals(histories[pk], Channel(channel)) > 1
    ]
    CampaignMessage.objects.filter(pk__in=duplicates).update(double_risk_at=now)


def _was_unknown_but_sent(evidence: Evidence) -> bool:
    return (
        evidence.outcome == AttemptOutcome.UNKNOWN
        and MessageStatus.SENT in evidence.receipts
        and evidence.receipts.isdisjoint({MessageStatus.FAILED, MessageStatus.BOUNCED})
    )


def _count_of_arrivals(history: History, channel: Channel) -> int:
    return sum(
        each.verdict(channel) == Verdict.GOT_THROUGH for each in history.values()
    )
