"""Withdrawing messages that have not left."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from messaging.models import CampaignMessage, CampaignMessageQuerySet
from messaging.standing import count_arrival
from routing.statistics import keep
from routing.tally import TallySheet
from routing.vocabulary import MessageStatus

CHUNK = 5000  # messages at once: a million in one statement would outlast a request


def withdraw(
    messages: CampaignMessageQuerySet,
    *,
    now: datetime,
    reason: str = "The campaign was cancelled.",
) -> int:
    """Cancel those that are queued; returns how many that were.

    It walks along the ids, so that no chunk looks again at what those before it have
    withdrawn. What is queued again behind it was in flight; the sweep withdraws that.
    """
    withdrawn = last = 0
    while ids := _withdraw_some(messages.filter(pk__gt=last), reason, now):
        withdrawn, last = withdrawn + len(ids), ids[-1]
    return withdrawn


def _withdraw_some(
    messages: CampaignMessageQuerySet, reason: str, now: datetime
) -> list[int]:
    """Cancel a chunk of them; returns their ids, in order."""
    sheet = TallySheet()
    with transaction.atomic():
        queued = messages.queued().select_for_update(of=("self",)).order_by("pk")
        rows = list(queued.values_list("pk", "channel", "provider")[:CHUNK])
        ids = [pk for pk, _, _ in rows]
        CampaignMessage.objects.filter(pk__in=ids).update(
            status=MessageStatus.CANCELLED,
            status_reason=reason,
            finished_at=now,
        )
        for _, channel, provider in rows:
            count_arrival(
                sheet,
                MessageStatus.CANCELLED,
                channel=channel,
                provider=provider,
                at=now,
            )
        keep(sheet)
    return ids
