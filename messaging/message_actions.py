"""What operators and callers can do with messages: cancel them, or send them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from messaging.models import ERASED_RECIPIENT, CampaignMessage, RetentionMark
from messaging.queue.completion import reopen_campaign
from messaging.queue.coordination import notify_workers
from messaging.reconciliation import perhaps_sent
from messaging.transitions import (
    RETRYABLE,
    queued_again,
    withdraw,
    withdrawn,
    write,
)
from messaging.vocabulary import CampaignStatus
from routing.signals import report
from routing.vocabulary import MessageStatus

NOT_RETRYABLE = (
    "The message is {}. Only messages that failed, bounced, expired, were cancelled or "
    "suppressed can be retried."
)
ERASED = "Its recipient's data was erased."
PERHAPS_SENT = (
    "The message was sent or may have been sent, so the recipient might get it twice. "
    "If that does not matter, post it as a new message."
)
PERHAPS_GONE = (
    "The message is so old that its text or its history may have been deleted. Post it "
    "as a new message."
)
CAMPAIGN_CANCELLED = "Its campaign was cancelled."
EXPIRED = "The message has expired. Give `expiresAt`, a time in the future."
BUSY = "It is being worked on at the moment, or was deleted; try again later."


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
        if problem := _refusals([fresh], now).get(fresh.pk):
            raise InterventionRefused(problem)
        fresh.save(update_fields=["expires_at"])
        write([(fresh, {**queued_again(due_at=now), "retry_count": 0})])
        if reopen_campaign(fresh.campaign_id).status == CampaignStatus.CANCELLED:
            raise InterventionRefused(CAMPAIGN_CANCELLED)
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


@dataclass(slots=True)
class Acted:
    """How many messages were acted on, and why others were not."""

    done: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def cancel_messages(ids: Collection[int], *, reason: str, now: datetime) -> Acted:
    """Withdraw those that are queued, within the caller's transaction."""
    messages = _locked(ids)
    others = [each for each in messages if each.status != MessageStatus.QUEUED]
    refusals = {each.pk: _too_late(each) for each in others}
    change = withdrawn(reason, now=now)
    write((each, change) for each in messages if each.pk not in refusals)
    return _acted(ids, messages, refusals)


def retry_messages(ids: Collection[int], *, reason: str, now: datetime) -> Acted:
    """Queue those again that may be retried, within the caller's transaction: like
    `retry_message`, with few statements for all of them.
    """
    messages = _locked(ids)
    refusals = _refusals(messages, now)
    allowed = [each for each in messages if each.pk not in refusals]
    # Their rows stay locked: a campaign that is cancelled meanwhile waits.
    ids_of_campaigns = sorted({each.campaign_id for each in allowed})
    campaigns = {pk: reopen_campaign(pk) for pk in ids_of_campaigns}
    for each in allowed:
        if campaigns[each.campaign_id].status == CampaignStatus.CANCELLED:
            refusals[each.pk] = CAMPAIGN_CANCELLED
    allowed = [each for each in allowed if each.pk not in refusals]
    again = {**queued_again(due_at=now, reason=reason), "retry_count": 0}
    write((each, again) for each in allowed)
    if allowed:
        notify_workers()
    return _acted(ids, messages, refusals)


def _locked(ids: Collection[int]) -> list[CampaignMessage]:
    """Waits for nobody."""
    rows = CampaignMessage.objects.select_for_update(skip_locked=True, of=("self",))
    return list(rows.filter(pk__in=ids).order_by("pk").select_related("campaign"))


def _acted(
    ids: Collection[int],
    messages: Sequence[CampaignMessage],
    refusals: Mapping[int, str],
) -> Acted:
    refused = Counter(refusals.values())
    if unlocked := len(ids) - len(messages):
        refused[BUSY] += unlocked
    return Acted(len(messages) - len(refusals), refused)


def _refusals(messages: Sequence[CampaignMessage], now: datetime) -> dict[int, str]:
    """By message, why it must not be sent again."""
    sent, cleared = perhaps_sent(messages), RetentionMark.objects.latest_cleared()
    refusals = {
        each.pk: _no_retry_because(
            each,
            now,
            is_perhaps_sent=each.pk in sent,
            is_perhaps_gone=cleared is not None and each.created_at < cleared,
        )
        for each in messages
    }
    return {pk: problem for pk, problem in refusals.items() if problem}


def _no_retry_because(
    message: CampaignMessage,
    now: datetime,
    *,
    is_perhaps_sent: bool,
    is_perhaps_gone: bool,
) -> str:
    """Why a message must not be sent again; "" if it may."""
    status = MessageStatus(message.status)
    reasons = {
        NOT_RETRYABLE.format(status.label.lower()): status not in RETRYABLE,
        ERASED: message.recipient.startswith(ERASED_RECIPIENT),
        PERHAPS_SENT: is_perhaps_sent,
        PERHAPS_GONE: is_perhaps_gone,
        CAMPAIGN_CANCELLED: message.campaign.status == CampaignStatus.CANCELLED,
        EXPIRED: message.is_expired(now),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
