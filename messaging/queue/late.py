"""Acceptances that come when the worker has lost its lease. Rare: one by one."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from datetime import datetime

from messaging.models import CampaignMessage
from messaging.standing import count_move
from routing.tally import TallySheet
from routing.vocabulary import MessageStatus


def settle_late(
    sheet: TallySheet, accepted: Mapping[int, int], *, now: datetime
) -> None:
    """Mark as Sent what waits for a verdict, or failed for want of one.

    `accepted` are attempt numbers by message: it settles a message only on the very
    attempt that nobody could say anything of.
    """
    if not accepted:
        return
    rows = CampaignMessage.objects.select_for_update().unsettled()
    for message in rows.filter(pk__in=accepted).order_by("pk"):
        if message.attempt_count == accepted[message.pk]:
            before = copy(message)
            _mark_as_sent(message, now)
            count_move(sheet, before=before, after=message)


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
