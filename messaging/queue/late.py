"""News of attempts that were given up as unknown: they were sent after all. Rare."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from messaging.models import CampaignMessage
from messaging.standing import count_move
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.tally import TallySheet
from routing.vocabulary import AttemptOutcome, MessageStatus


def settle_late(
    sheet: TallySheet, accepted: Mapping[int, int], *, now: datetime
) -> None:
    """Mark as Sent what waits for a verdict, failed for want of one, or waits for its
    next try: that is called off.

    `accepted` are attempt numbers by message: it settles a message only on the very
    attempt that nobody could say anything of.
    """
    if not accepted:
        return
    messages = CampaignMessage.objects.filter(pk__in=accepted)
    open_ones = messages.unsettled() | messages.filter(_waits_for_a_retry())
    for message in open_ones.select_for_update().order_by("pk"):
        if message.attempt_count == accepted[message.pk]:
            before = copy(message)
            _mark_as_sent(message, now)
            count_move(sheet, before=before, after=message)


def known_as_sent(message_ids: Collection[int]) -> set[int]:
    """Those of which receipts say that an attempt of unknown outcome was sent.

    And of none of these that it failed.
    """
    if not message_ids:
        return set()
    same = {
        "message": OuterRef("message"),
        "attempt_number": OuterRef("attempt_number"),
    }
    told = DeliveryReceipt.objects.filter(message__in=message_ids)
    sent = told.filter(
        _was_unknown(same), ~_has_failed(same), status=MessageStatus.SENT
    )
    return set(sent.values_list("message", flat=True))


def _waits_for_a_retry() -> Q:
    """After an attempt of unknown outcome, which no receipt says has failed."""
    latest = {"message": OuterRef("pk"), "attempt_number": OuterRef("attempt_count")}
    return Q(_was_unknown(latest), ~_has_failed(latest), status=MessageStatus.QUEUED)


def _was_unknown(which: Mapping[str, OuterRef]) -> Exists:
    return Exists(
        MessageDeliveryAttempt.objects.filter(
            **which, outcome=AttemptOutcome.UNKNOWN, is_late=False
        )
    )


def _has_failed(which: Mapping[str, OuterRef]) -> Exists:
    return Exists(
        DeliveryReceipt.objects.filter(
            **which, status__in=[MessageStatus.FAILED, MessageStatus.BOUNCED]
        )
    )


def _mark_as_sent(message: CampaignMessage, now: datetime) -> None:
    changes = {
        "status": MessageStatus.SENT,
        "status_reason": "",
        "sent_at": now,
        "finished_at": None,
        "unknown_since": None,
        "lease_owner": None,
        "lease_expires_at": None,
    }
    for name, value in changes.items():
        setattr(message, name, value)
    message.save(update_fields=changes)
