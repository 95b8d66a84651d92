"""The proof: compares what reached the handsets with what the database says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from messaging.models import CampaignMessage
from routing.reference import AttemptReference
from routing.simulators.handset import HandsetEntry
from routing.vocabulary import MessageStatus

_UNFINISHED = {MessageStatus.QUEUED, MessageStatus.SENDING}
_POSITIVE = {MessageStatus.SENT, MessageStatus.DELIVERED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How handsets and database compare, in messages."""

    on_handsets: int  # different messages that reached a recipient
    lost: int  # unfinished, or Delivered although no handset has it
    doubled: int  # reached a handset more than once
    unrecorded: int  # reached a handset, but the database says otherwise
    unconfirmed: int  # given up, and marked as possibly sent

    @property
    def is_clean(self) -> bool:
        """Whether every message is accounted for."""
        return not (self.lost or self.doubled or self.unrecorded)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database says about one message."""

    status: MessageStatus
    is_outcome_unknown: bool = False

    @property
    def is_unconfirmed(self) -> bool:
        """Whether it was given up with its outcome unknown."""
        return self.status == MessageStatus.FAILED and self.is_outcome_unknown


def check(entries: Iterable[HandsetEntry], campaign_ids: Iterable[int]) -> Verdict:
    """Compare the handset log with the messages of some campaigns."""
    rows = CampaignMessage.objects.filter(campaign__in=campaign_ids).values_list(
        "pk", "status", "unknown_since"
    )
    return compare(
        _arrivals(entries),
        {
            pk: Recorded(MessageStatus(status), unknown_since is not None)
            for pk, status, unknown_since in rows
        },
    )


def compare(arrivals: Mapping[int, int], recorded: Mapping[int, Recorded]) -> Verdict:
    """`arrivals` counts how often each message reached a handset."""
    return Verdict(
        on_handsets=len(arrivals),
        lost=sum(
            _is_lost(each, arrivals.get(message_id, 0))
            for message_id, each in recorded.items()
        ),
        doubled=sum(times > 1 for times in arrivals.values()),
        unrecorded=sum(
            _is_unrecorded(recorded.get(message_id)) for message_id in arrivals
        ),
        unconfirmed=sum(each.is_unconfirmed for each in recorded.values()),
    )


def _is_lost(message: Recorded, arrivals: int) -> bool:
    return message.status in _UNFINISHED or (
        message.status == MessageStatus.DELIVERED and not arrivals
    )


def _is_unrecorded(message: Recorded | None) -> bool:
    """Whether the database denies a message that did arrive."""
    return message is None or not (
        message.status in _POSITIVE or message.is_unconfirmed
    )


def _arrivals(entries: Iterable[HandsetEntry]) -> Counter[int]:
    arrivals: Counter[int] = Counter()
    for entry in entries:
        reference = AttemptReference.parse(entry.message.reference)
        if entry.event == "handset" and reference:
            arrivals[reference.message_id] += 1
    return arrivals
