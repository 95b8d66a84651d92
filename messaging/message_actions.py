"""What operators and callers can do with one message: cancel it, or send it again."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from messaging.models import ERASED_RECIPIENT, CampaignMessage, RetentionMark
from messaging.queue.completion import reopen_campaign
from messaging.queue.coordination import notify_workers
from messaging.reconciliation import may_have_been_sent
from messaging.transitions import RETRYABLE, queued_again, withdraw, write
from messaging.vocabulary import CampaignStatus
from routing.signals import report
from routing.vocabulary import MessageStatus


class InterventionRefused(ValueError):
    """The message's state does not allow the action; the text says why."""


def cancel_message(message: CampaignMessage, *, now: datetime) -> None:
    """Withdraw a queued message; InterventionRefused if it is not queued."""
    this_one = CampaignMessage.objects.filter(pk=message.pk)
    with transaction.atomic():
        cancelled = withdraw(this_one, reason="The message was cancelled.", now=now)
        if cancelled:
            report("cancel", message)
    message.refresh_from_db()
    if not cancelled:
        raise InterventionRefused(_too_late(message))


def retry_message(
    message: CampaignMessage, *, now: datetime, expires_at: datetime | None = None
) -> None:
    """Queue a message again, with a full set of its route's retries.

    1. lock the message, and check that the recipient has certainly not got it
    2. queue it; `expires_at` gives it a new expiry
    3. reopen its campaign if that was completed

    InterventionRefused leaves everything as it was.
    """
    with transaction.atomic():
        locked = CampaignMessage.objects.select_for_update(of=("self",))
        fresh = locked.select_related("campaign").filter(pk=message.pk).first()
        if fresh is None:
            raise InterventionRefused("The message was old and has been deleted.")
        fresh.expires_at = expires_at or fresh.expires_at
        if problem := _no_retry_because(fresh, now):
            raise InterventionRefused(problem)
        fresh.save(update_fields=["expires_at"])
        write([(fresh, {**queued_again(due_at=now), "retry_count": 0})])
        if reopen_campaign(fresh.campaign_id).status == CampaignStatus.CANCELLED:
            raise InterventionRefused("Its campaign was cancelled.")
        report("retry", fresh)
        notify_workers()
    message.refresh_from_db()


def _too_late(message: CampaignMessage) -> str:
    status = MessageStatus(message.status)
    if status != MessageStatus.SENDING:
        return f"The message is {status.label.lower()}: there is nothing to cancel."
    return (
        "The message is being sent, and its provider may already have it. It can be "
        "cancelled only if this attempt fails and it waits for a retry."
    )


def _no_retry_because(message: CampaignMessage, now: datetime) -> str:
    """Why a message must not be sent again; "" if it may."""
    status = MessageStatus(message.status)
    if status not in RETRYABLE:
        return (
            f"The message is {status.label.lower()}. Only messages that failed, "
            "bounced, expired, were cancelled or suppressed can be retried."
        )
    if message.recipient.startswith(ERASED_RECIPIENT):
        return "Its recipient's data was erased."
    if may_have_been_sent(message):
        return (
            "The message was sent or may have been sent, so the recipient might get it "
            "twice. If that does not matter, post it as a new message."
        )
    if RetentionMark.objects.beyond(message.created_at).exists():
        return (
            "The message is so old that its text or its history may have been deleted. "
            "Post it as a new message."
        )
    if message.is_expired(now):
        return "The message has expired. Give `expiresAt`, a time in the future."
    return ""
