"""A long SMS travels in parts, and some providers send a receipt for each.

A handset shows nothing whole until it has them all: one part that is lost, and the
message has not arrived. What counts is the set of receipts, in any order.

Pure: no Django, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from routing.receipts.news import News
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


def whole_of(receipts: Iterable[News], *, parts: int) -> Whole:
    """What becomes of a message in this many parts: delivered when all of them are.

    Each part has a provider's id of its own.
    """
    said = _said_by_part(receipts)
    ends = [_strongest(statuses) for statuses in said.values()]
    is_under_way = any(statuses & _ON_ITS_WAY for statuses in said.values())
    for lost in LOST:
        if lost in ends:
            return Whole(lost, is_under_way)
    is_whole = len(ends) >= parts and set(ends) == {MessageStatus.DELIVERED}
    if is_whole:
        return Whole(MessageStatus.DELIVERED, is_under_way)
    return Whole(MessageStatus.SENT if is_under_way else None, is_under_way)


def are_of_parts(receipts: Sequence[News], *, parts: int) -> bool:
    """Whether receipts of an attempt are of parts of it, where its provider sends one
    for each; otherwise they speak of the whole message, as most do.
    """
    return parts > 1 or len({each.external_message_id for each in receipts}) > 1


def are_all_lost(receipts: Iterable[News], *, parts: int) -> bool:
    """Whether every part is lost, so that nothing of the message has arrived."""
    ends = [_strongest(statuses) for statuses in _said_by_part(receipts).values()]
    return len(ends) >= parts and all(end in LOST for end in ends)


def news_of_parts(receipts: Sequence[News], *, parts: int) -> list[News]:
    """What is now to be said of the whole message, after the last of these."""
    latest = receipts[-1]
    statuses = whole_of(receipts, parts=parts).news
    return [speaking_of_all(receipts, each) for each in statuses] or [
        latest._replace(status=None)
    ]


def speaking_of_all(receipts: Sequence[News], status: MessageStatus | None) -> News:
    """As the receipt of the part that decided it, and with its reason."""
    latest = receipts[-1]
    if status in LOST:
        return next((each for each in receipts if each.status == status), latest)
    return latest._replace(
        status=status, error_class=None, error_code="", error_message=""
    )


def _said_by_part(receipts: Iterable[News]) -> dict[str, set[int]]:
    said: dict[str, set[int]] = {}
    for each in receipts:
        if each.status is not None:
            said.setdefault(each.external_message_id, set()).add(each.status)
    return said


def _strongest(said: set[int]) -> MessageStatus | None:
    return next((each for each in _STRONGEST_FIRST if each in said), None)
