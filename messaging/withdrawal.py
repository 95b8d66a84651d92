"""Withdrawing messages that have not left, in batches of a short transaction each."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from django.db import transaction

from messaging.models import CampaignMessage, CampaignMessageQuerySet
from messaging.standing import count_arrival
from routing.statistics import keep
from routing.tally import TallySheet
from routing.vocabulary import MessageStatus

BATCH = 1000  # messages per transaction: on SQLite, nobody else writes meanwhile
OF_A_CAMPAIGN = "The campaign was cancelled."


def withdraw(
    messages: CampaignMessageQuerySet,
    *,
    now: datetime,
    reason: str = OF_A_CAMPAIGN,
    at_most: int = BATCH,
    skip_locked: bool = False,
) -> int:
    """Cancel those that are queued, the first due ones first; returns how many.

    Of one campaign, or one message: read by the index of what is due, a batch costs the
    same, however many are left. What a claim has in hand is waited for, unless
    `skip_locked`.
    """
    withdrawn = 0
    while withdrawn < at_most:
        size = min(BATCH, at_most - withdrawn)
        count = _withdraw_some(messages, reason, now, size, skip_locked)
        withdrawn += count
        if count < size:
            break
    return withdrawn


def _withdraw_some(
    messages: CampaignMessageQuerySet,
    reason: str,
    now: datetime,
    size: int,
    skip_locked: bool,
) -> int:
    with transaction.atomic():
        queued = messages.queued().order_by("due_at", "id")
        locked = queued.select_for_update(of=("self",), skip_locked=skip_locked)
        rows = list(locked.values_list("pk", "channel", "provider")[:size])
        CampaignMessage.objects.filter(pk__in=[pk for pk, _, _ in rows]).update(
            status=MessageStatus.CANCELLED,
            status_reason=reason,
            finished_at=now,
        )
        sheet = TallySheet()
        alike = Counter((channel, provider) for _, channel, provider in rows)
        for (channel, provider), times in alike.items():
            count_arrival(
                sheet,
                MessageStatus.CANCELLED,
                channel=channel,
                provider=provider,
                at=now,
                times=times,
            )
        keep(sheet)
    return len(rows)
