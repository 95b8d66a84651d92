"""A long SMS travels in parts, and some providers send a receipt for each.

A handset shows nothing whole until it has them all: one part that is lost, and the
message has not arrived. What counts is the set of receipts, in any order.

Pure: no Django, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from routing.vocabulary import MessageStatus

# What counts of all that was said of one part: a delivery is proof.
_STRONGEST_FIRST = (
    MessageStatus.DELIVERED,
    MessageStatus.BOUNCED,
    MessageStatus.FAILED,
    MessageStatus.SENT,
)
LOST = (MessageStatus.BOUNCED, MessageStatus.FAILED)
_ON_ITS_WAY = {MessageStatus.SENT, MessageStatus.DELIVERED}


class PartReceipt(NamedTuple):
    """What a provider says of the part that has this id of its own."""

    part: str
    status: int | None  # None: no verdict


class Whole(NamedTuple):
    """What receipts of parts say of their message."""

    status: MessageStatus | None
    is_under_way: bool  # whether the provider has sent some part of it

    @property
    def news(self) -> list[MessageStatus]:
        """The statuses that the message goes through, in their order."""
        sent = [MessageStatus.SENT] if self.is_under_way else []
        ends = [] if self.status in {None, MessageStatus.SENT} else [self.status]
        return [*sent, *filter(None, ends)]


def whole_of(receipts: Iterable[PartReceipt], *, parts: int) -> Whole:
    """What becomes of a message in this many parts: delivered when all of them are."""
    told: dict[str, set[int]] = {}
    for each in receipts:
        if each.status is not None:
            told.setdefault(each.part, set()).add(each.status)
    ends = [_strongest(said) for said in told.values()]
    is_under_way = any(said & _ON_ITS_WAY for said in told.values())
    for lost in LOST:
        if lost in ends:
            return Whole(lost, is_under_way)
    is_whole = len(ends) >= parts and set(ends) == {MessageStatus.DELIVERED}
    if is_whole:
        return Whole(MessageStatus.DELIVERED, is_under_way)
    return Whole(MessageStatus.SENT if is_under_way else None, is_under_way)


def _strongest(said: set[int]) -> MessageStatus | None:
    return next((each for each in _STRONGEST_FIRST if each in said), None)
