"""The end of campaigns: complete those that are sent, and finish cancellations."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from messaging.models import Campaign, CampaignMessage
from messaging.transitions import (
    BATCH,
    withdraw,
)
from messaging.vocabulary import CampaignStatus

CANCELLING = timedelta(seconds=5)  # longer than `cancel_campaigns` takes


def close_campaigns(*, now: datetime, grace: timedelta = CANCELLING) -> int:
    """Complete campaigns with nothing left to send, and finish cancellations.

    Returns how many messages were withdrawn; after a whole BATCH there may be more.
    """
    _complete_finished(now)
    return _finish_cancellations(now, grace)


def _finish_cancellations(now: datetime, grace: timedelta) -> int:
    """Withdraw a batch of the messages still queued in cancelled campaigns.

    That is most of a large campaign, and messages that were in flight when it was
    cancelled and then failed: they would wait for a retry that never comes. A campaign
    cancelled a moment ago is skipped: `cancel_campaigns` may still be counting it.
    """
    holding = Campaign.objects.with_messages_to_withdraw(now)
    holding = holding.filter(completed_at__lte=now - grace)
    withdrawn = 0
    # One query per campaign, and there is rarely any; one query for all campaigns
    # would read all messages.
    for pk in list(holding.values_list("pk", flat=True)):
        messages, room = CampaignMessage.objects.filter(campaign=pk), BATCH - withdrawn
        withdrawn += withdraw(messages, now=now, at_most=room, skip_locked=True)
    return withdrawn


def _complete_finished(now: datetime) -> None:
    """Checked twice: a message may be queued again until the lock is held."""
    finished = Campaign.objects.finished().order_by()
    seen = list(finished.values_list("pk", flat=True))
    if not seen:
        return
    with transaction.atomic():
        locked = Campaign.objects.select_for_update(skip_locked=True, no_key=True)
        ids = list(locked.filter(pk__in=seen).values_list("pk", flat=True))
        Campaign.objects.finished().filter(pk__in=ids).update(
            status=CampaignStatus.COMPLETED, completed_at=now
        )


def reopen_campaign(campaign_id: int) -> Campaign:
    """Reopen a completed campaign because one of its messages was just queued again.

    The row stays locked until the caller's transaction ends: the sweep that completes
    campaigns either came before, or will see the message.
    """
    locked = Campaign.objects.select_for_update(no_key=True)
    campaign = locked.get(pk=campaign_id)
    if campaign.status == CampaignStatus.COMPLETED:
        campaign.status, campaign.completed_at = CampaignStatus.RUNNING, None
        campaign.save(update_fields=["status", "completed_at"])
    return campaign
