"""Did this attempt get through? Attempts and receipts, weighed against each other.

Everybody who asks gets the same answer: receipts, late results, what people may do, and
the mark on messages that may have arrived twice.
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

# Ends the event id of the receipt that notes a look-up in vain.
NOT_FOUND = "not found"


class Verdict(Enum):
    """What is known of an attempt, all in all."""

    GOT_THROUGH = auto()  # accepted or said to be sent, and not said to have failed
    CAME_BACK = auto()  # its provider said later that it failed or bounced
    NOT_SENT = auto()  # certainly
    UNKNOWN = auto()


@dataclass(slots=True)
class Evidence:
    """What there is on record of one attempt."""

    outcome: AttemptOutcome | None = None  # as first recorded; None: not yet
    late_outcomes: set[AttemptOutcome] = field(default_factory=set)
    told: set[MessageStatus] = field(default_factory=set)  # by receipts
    is_missing: bool = False  # its provider was asked, and did not have it

    def verdict(self, channel: Channel) -> Verdict:
        """What it comes to.

        Delivered is proof, but an e-mail may bounce after it. A look-up in vain is no
        proof against what is said after it: it may have come early.
        """
        if channel == Channel.EMAIL and MessageStatus.BOUNCED in self.told:
            return Verdict.CAME_BACK
        if MessageStatus.DELIVERED in self.told:
            return Verdict.GOT_THROUGH
        if self.told & {MessageStatus.FAILED, MessageStatus.BOUNCED}:
            return Verdict.CAME_BACK
        outcomes = {self.outcome, *self.late_outcomes}
        if MessageStatus.SENT in self.told or AttemptOutcome.ACCEPTED in outcomes:
            return Verdict.GOT_THROUGH
        is_unknown = self.outcome == AttemptOutcome.UNKNOWN
        is_certain = self.is_missing or AttemptOutcome.REJECTED in self.late_outcomes
        return Verdict.UNKNOWN if is_unknown and not is_certain else Verdict.NOT_SENT


# By attempt number.
History = Mapping[int, Evidence]


def histories_of(message_ids: Collection[int]) -> dict[int, History]:
    """The evidence on the attempts of messages: two queries.

    Receipts about attempts that were never made are none.
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
            evidence.told.add(MessageStatus(status))
    return dict(found)


def may_have_been_sent(message: CampaignMessage) -> bool:
    """Whether some attempt got through, or nobody knows until today how it ended."""
    if message.is_outcome_unknown:
        return True
    history = histories_of([message.pk])[message.pk]
    verdicts = {each.verdict(Channel(message.channel)) for each in history.values()}
    return not verdicts.isdisjoint({Verdict.GOT_THROUGH, Verdict.UNKNOWN})


def known_as_sent(message_ids: Collection[int]) -> set[int]:
    """Those with an attempt of unknown outcome that has turned out to be sent."""
    return {
        message
        for message, history in histories_of(message_ids).items()
        if any(_was_unknown_but_sent(each) for each in history.values())
    }


def mark_possible_duplicates(message_ids: Collection[int], *, now: datetime) -> None:
    """Mark those messages of which more than one attempt got through, as it seems.

    Nobody can call one back, but it is shown. Within the transaction that has written
    the news.
    """
    if not message_ids:
        return
    histories = histories_of(message_ids)
    messages = CampaignMessage.objects.filter(pk__in=histories, double_risk_at=None)
    doubled = [
        pk
        for pk, channel in messages.values_list("pk", "channel")
        if _count_of_arrivals(histories[pk], Channel(channel)) > 1
    ]
    CampaignMessage.objects.filter(pk__in=doubled).update(double_risk_at=now)


def _was_unknown_but_sent(evidence: Evidence) -> bool:
    return (
        evidence.outcome == AttemptOutcome.UNKNOWN
        and MessageStatus.SENT in evidence.told
        and evidence.told.isdisjoint({MessageStatus.FAILED, MessageStatus.BOUNCED})
    )


def _count_of_arrivals(history: History, channel: Channel) -> int:
    return sum(
        each.verdict(channel) == Verdict.GOT_THROUGH for each in history.values()
    )
