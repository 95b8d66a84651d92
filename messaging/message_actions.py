"""What people do about one message: cancel it, or send it once more."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from messaging.models import ERASED_RECIPIENT, CampaignMessage, RetentionMark
from messaging.queue.completion import reopen_campaign
from messaging.queue.wakeup import notify_workers
from messaging.reconciliation import may_have_been_sent
from messaging.transitions import RETRYABLE, queued_again, withdraw, write
from messaging.vocabulary import CampaignStatus
from routing.signals import report
from routing.vocabulary import MessageStatus


class InterventionRefused(ValueError):
    """The message's state does not allow it; the text says why."""


def cancel_message(message: CampaignMessage, *, now: datetime) -> None:
    """Withdraw a message that waits; InterventionRefused when it does not wait."""
    this_one = CampaignMessage.objects.filter(pk=message.pk)
    with transaction.atomic():
        cancelled = withdraw(this_one, reason="It was cancelled.", now=now)
        if cancelled:
            report("cancel", message)
    message.refresh_from_db()
    if not cancelled:
        raise InterventionRefused(_too_late(message))


def retry_message(
    message: CampaignMessage, *, now: datetime, expires_at: datetime | None = None
) -> None:
    """Queue a message once more, with all of its route's retries before it.

    1. lock the message, and see that the recipient has certainly not got it
    2. queue it; with `expires_at` it gets a new time to live
    3. let its campaign go on, if that was completed

    InterventionRefused leaves everything as it was.
    """
    with transaction.atomic():
        locked = CampaignMessage.objects.select_for_update(of=("self",))
        fresh = locked.select_related("campaign").filter(pk=message.pk).first()
        if fresh is None:
            raise InterventionRefused("The message was old, and has been cleared away.")
        fresh.expires_at = expires_at or fresh.expires_at
        if problem := _no_retry_because(fresh, now):
            raise InterventionRefused(problem)
        fresh.save(update_fields=["expires_at"])
        write([(fresh, {**queued_again(due_at=now), "retry_count": 0})])
        if reopen_campaign(fresh.campaign_id).status == CampaignStatus.CANCELLED:
            raise InterventionRefused("Its campaign was cancelled, for good.")
        report("retry", fresh)
        notify_workers()
    message.refresh_from_db()


def _too_late(message: CampaignMessage) -> str:
    status = MessageStatus(message.status)
    if status != MessageStatus.SENDING:
        return f"The message is {status.label.lower()}: there is nothing to cancel."
    return (
        "The message is being sent: its provider may have it. If that fails and it "
        "waits for another try, it can be cancelled then."
    )


def _no_retry_because(message: CampaignMessage, now: datetime) -> str:
    """Why a message must not be sent once more; "" when it may."""
    status = MessageStatus(message.status)
    if status not in RETRYABLE:
        return (
            f"The message is {status.label.lower()}. Only one that failed, bounced, "
            "expired, was cancelled or suppressed is tried again."
        )
    if message.recipient.startswith(ERASED_RECIPIENT):
        return "Its recipient's data was erased."
    if may_have_been_sent(message):
        return (
            "The message was sent once, or nobody knows whether it was: the recipient "
            "might get it twice. If that does not matter, post it as a new message."
        )
    if RetentionMark.objects.beyond(message.created_at).exists():
        return (
            "The message is so old that what it said, or what became of it, may have "
            "been cleared away. Post it as a new message."
        )
    if message.is_expired(now):
        return "The message has expired. Give `expiresAt`, a time in the future."
    return ""
