"""Acceptances that come when the worker has lost its lease. Rare: one by one."""

from __future__ import annotations

from collections.abc import Mapping
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


def _waits_for_a_retry() -> Q:
    """After an attempt of unknown outcome, which no receipt says has failed."""
    latest = {"message": OuterRef("pk"), "attempt_number": OuterRef("attempt_count")}
    unknown = MessageDeliveryAttempt.objects.filter(
        **latest, outcome=AttemptOutcome.UNKNOWN
    )
    failed = DeliveryReceipt.objects.filter(
        **latest, status__in=[MessageStatus.FAILED, MessageStatus.BOUNCED]
    )
    return Q(Exists(unknown), ~Exists(failed), status=MessageStatus.QUEUED)


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
