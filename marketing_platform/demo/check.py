"""The proof: what reached the handsets, held against what the database says."""

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
    unrecorded: int  # reached a handset, and the database says otherwise
    unconfirmed: int  # given up, and marked as perhaps sent: nobody could say

    @property
    def is_clean(self) -> bool:
        """Whether every message is accounted for."""
        return not (self.lost or self.doubled or self.unrecorded)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of one message."""

    status: MessageStatus
    is_outcome_unknown: bool = False

    @property
    def is_unconfirmed(self) -> bool:
        """Whether it was given up without anybody knowing if it was sent."""
        return self.status == MessageStatus.FAILED and self.is_outcome_unknown


def check(entries: Iterable[HandsetEntry], campaign_ids: Iterable[int]) -> Verdict:
    """Compare the handset log with the messages of some campaigns."""
    rows = CampaignMessage.objects.filter(campaign__in=campaign_ids).values_list(
        "pk", "status", "unknown_since"
    )
    return compare(
        _arrivals(entries),
        {
            pk: Standing(MessageStatus(status), unknown_since is not None)
            for pk, status, unknown_since in rows
        },
    )


def compare(arrivals: Mapping[int, int], standings: Mapping[int, Standing]) -> Verdict:
    """`arrivals` counts how often each message reached a handset."""
    return Verdict(
        on_handsets=len(arrivals),
        lost=sum(
            _is_lost(standing, arrivals.get(message_id, 0))
            for message_id, standing in standings.items()
        ),
        doubled=sum(times > 1 for times in arrivals.values()),
        unrecorded=sum(
            _is_unrecorded(standings.get(message_id)) for message_id in arrivals
        ),
        unconfirmed=sum(standing.is_unconfirmed for standing in standings.values()),
    )


def _is_lost(standing: Standing, arrivals: int) -> bool:
    return standing.status in _UNFINISHED or (
        standing.status == MessageStatus.DELIVERED and not arrivals
    )


def _is_unrecorded(standing: Standing | None) -> bool:
    """Whether the database denies a message that did arrive."""
    return standing is None or not (
        standing.status in _POSITIVE or standing.is_unconfirmed
    )


def _arrivals(entries: Iterable[HandsetEntry]) -> Counter[int]:
    arrivals: Counter[int] = Counter()
    for entry in entries:
        reference = AttemptReference.parse(entry.message.reference)
        if entry.event == "handset" and reference:
            arrivals[reference.message_id] += 1
    return arrivals
