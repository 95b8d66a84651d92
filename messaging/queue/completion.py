"""The end of campaigns: completed when all is sent, and cancellations seen through."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from messaging.models import Campaign, CampaignMessage
from messaging.transitions import (
    BATCH,
    withdraw,
)
from messaging.vocabulary import CampaignStatus

CANCELLING = timedelta(seconds=5)  # longer than a cancellation takes to answer


def close_campaigns(*, now: datetime, grace: timedelta = CANCELLING) -> int:
    """Complete campaigns with nothing left to send, and see cancellations through.

    Returns how many messages were withdrawn; a whole batch, and there may be more.
    """
    _complete_finished(now)
    return _see_cancellations_through(now, grace)


def _see_cancellations_through(now: datetime, grace: timedelta) -> int:
    """Withdraw a batch of what is still queued of cancelled campaigns.

    Most of a large campaign, and messages that were in flight when it was cancelled,
    and that then failed: they would wait for a retry that never comes. One that was
    cancelled a moment ago is left to who is just counting what that comes to.
    """
    holding = Campaign.objects.with_messages_to_withdraw(now)
    holding = holding.filter(completed_at__lte=now - grace)
    withdrawn = 0
    # Named, and rarely any: else all messages would be read for those to withdraw.
    for pk in list(holding.values_list("pk", flat=True)):
        messages, room = CampaignMessage.objects.filter(campaign=pk), BATCH - withdrawn
        withdrawn += withdraw(messages, now=now, at_most=room, skip_locked=True)
    return withdrawn


def _complete_finished(now: datetime) -> None:
    """Looked at twice: until the lock is held, a message may be queued again."""
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
    """Let a completed campaign go on, one of whose messages was just queued again.

    Locks the row until the caller's transaction ends: the sweep that completes
    campaigns has either been here before, or will see the message.
    """
    locked = Campaign.objects.select_for_update(no_key=True)
    campaign = locked.get(pk=campaign_id)
    if campaign.status == CampaignStatus.COMPLETED:
        campaign.status, campaign.completed_at = CampaignStatus.RUNNING, None
        campaign.save(update_fields=["status", "completed_at"])
    return campaign
