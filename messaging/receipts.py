"""What a receipt changes on its message. Status only moves forward."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from django.dispatch import receiver

from messaging.campaigns import reopen_campaign
from messaging.consent.suppression import suppress
from messaging.models import CampaignMessage
from messaging.reconciliation import mark_possible_duplicates
from messaging.transitions import Change, queued_again, write
from messaging.vocabulary import SuppressionReason
from routing.models import DeliveryReceipt
from routing.signals import receipt_recorded
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

# Given up without knowing whether it was sent: the one failure that is not settled.
_UNSETTLED = Q(status=MessageStatus.FAILED, unknown_since__isnull=False)


@receiver(receipt_recorded)
def apply_receipt(
    *,
    receipt: DeliveryReceipt,
    is_sum_of_parts: bool,
    opted_out: bool,
    complained: bool,
    resumes_at: datetime | None,
    now: datetime,
    **_: object,
) -> None:
    """Move the message forward, if the receipt is news to it.

    A conditional update that may find nothing to do: receipts come early, late, twice
    and out of order. Whoever recorded the receipt has locked the message.
    """
    message = receipt.message
    if message is None:
        return
    if resumes_at is not None:
        _send_again(message, receipt, resumes_at)
    else:
        _heed(message, receipt, now)
        if is_sum_of_parts:
            _correct(message, receipt, now)
        _mark_double_risk(receipt, now)
    if complained:
        _suppress(receipt, SuppressionReason.COMPLAINT)
    elif opted_out:
        _suppress(receipt, SuppressionReason.OPTED_OUT)
    elif _is_hard_bounce(receipt):
        _suppress(receipt, SuppressionReason.HARD_BOUNCE)


def _heed(message: CampaignMessage, receipt: DeliveryReceipt, now: datetime) -> None:
    """Do what it says. If it calls off a retry, failures told before it count now."""
    is_retry_pending = message.status == MessageStatus.QUEUED
    is_changed = _move_as_told(message, receipt, now)
    if is_changed and is_retry_pending and receipt.status == MessageStatus.SENT:
        for earlier in message.receipts.filter(
            attempt_number=receipt.attempt_number, status=MessageStatus.FAILED
        ):
            _move_as_told(message, earlier, now)


def _correct(message: CampaignMessage, receipt: DeliveryReceipt, now: datetime) -> None:
    """Take back what fewer parts had said: there were more than we thought, or a part
    that was told as lost has come.
    """
    if receipt.status is None:
        return
    told_by_parts = ~Q(status=receipt.status) & Q(
        status__in=[
            MessageStatus.DELIVERED,
            MessageStatus.FAILED,
            MessageStatus.BOUNCED,
        ],
        provider=receipt.provider,
        attempt_count=receipt.attempt_number,
        sent_at__isnull=False,
    )
    _move(message, told_by_parts, _news(message, receipt, now))


def _move_as_told(
    message: CampaignMessage, receipt: DeliveryReceipt, now: datetime
) -> bool:
    if receipt.status is None:
        return False
    status = MessageStatus(receipt.status)
    allowed = _open_to(status, message, receipt)
    return _move(message, allowed, _news(message, receipt, now))


def _mark_double_risk(receipt: DeliveryReceipt, now: datetime) -> None:
    """A message that fell back, or was sent again, may have got through twice."""
    message = receipt.message
    is_good_news = receipt.status in {MessageStatus.SENT, MessageStatus.DELIVERED}
    if is_good_news and message is not None and message.attempt_count > 1:
        mark_possible_duplicates([message.pk], now=now)


def _move(message: CampaignMessage, allowed: Q, change: Change) -> bool:
    """Change the row, which is locked, if it is open to that."""
    if not CampaignMessage.objects.filter(allowed, pk=message.pk).exists():
        return False
    write([(message, change)])
    return True


def _send_again(
    message: CampaignMessage, receipt: DeliveryReceipt, due_at: datetime
) -> None:
    """Queue the message for when its carrier takes messages again: it was not sent.

    A campaign that has ended meanwhile goes on.
    """
    change = queued_again(due_at=due_at, reason=_reason(receipt))
    if _move(message, _open_to(MessageStatus.FAILED, message, receipt), change):
        reopen_campaign(message.campaign_id)


def _open_to(
    status: MessageStatus, message: CampaignMessage, receipt: DeliveryReceipt
) -> Q:
    """From which states a message may move to this one.

    Delivered is proof: it ends a retry that is pending elsewhere, and corrects whatever
    else was thought of the message, unless an e-mail has bounced since. Sent ends a
    pending retry as well, if nobody had known whether the attempt was sent. Other news
    counts only about the latest attempt, and an e-mail may bounce after it was
    delivered. In whatever order the receipts of an attempt come, the end is the same.
    """
    was_made = Q(attempt_count__gte=receipt.attempt_number)
    if status == MessageStatus.DELIVERED:
        bounced_since = Q(channel=Channel.EMAIL, status=MessageStatus.BOUNCED)
        return was_made & ~Q(status=MessageStatus.DELIVERED) & ~bounced_since
    was_unknown, is_last = _standing_of(message, receipt)
    latest = was_made if is_last else Q(attempt_count=receipt.attempt_number)
    open_to_news = _open_to_news(status) & latest
    if status == MessageStatus.SENT and was_unknown:
        return open_to_news | Q(status=MessageStatus.QUEUED)
    return open_to_news


def _standing_of(
    message: CampaignMessage, receipt: DeliveryReceipt
) -> tuple[bool, bool]:
    """Whether nobody knew if the attempt was sent; and then, if it is the last such.

    All later ones were certainly not sent: a verdict on it is the message's. Looked up
    only where it matters, of earlier attempts and of retries that are pending.
    """
    number = receipt.attempt_number or 0
    later = message.attempt_count - number
    if later < 0 or (later == 0 and message.status != MessageStatus.QUEUED):
        return False, False
    attempts = message.attempts.filter(is_late=False, attempt_number__gte=number)
    outcomes = dict(attempts.values_list("attempt_number", "outcome"))
    was_unknown = outcomes.pop(number, None) == AttemptOutcome.UNKNOWN
    is_last = list(outcomes.values()) == [AttemptOutcome.REJECTED] * later
    return was_unknown, was_unknown and is_last


def _open_to_news(status: MessageStatus) -> Q:
    if status == MessageStatus.SENT:
        return Q(status=MessageStatus.SENDING) | _UNSETTLED
    sending_or_sent = Q(status__in=[MessageStatus.SENDING, MessageStatus.SENT])
    if status == MessageStatus.BOUNCED:
        late = Q(channel=Channel.EMAIL, status=MessageStatus.DELIVERED)
        given_up = Q(status__in=[MessageStatus.QUEUED, MessageStatus.FAILED])
        return sending_or_sent | given_up | late
    return sending_or_sent | _UNSETTLED


def _news(
    message: CampaignMessage, receipt: DeliveryReceipt, now: datetime
) -> dict[str, Any]:
    """The columns that change. The worker that may still hold the lease loses it.

    Whatever a receipt says of a message, its provider had accepted it before.
    """
    happened_at = receipt.occurred_at or now
    is_end = receipt.status != MessageStatus.SENT
    changes = {
        "status": receipt.status,
        "status_reason": _reason(receipt),
        "sent_at": message.sent_at or happened_at,
        "finished_at": happened_at if is_end else None,
    }
    if receipt.status == MessageStatus.DELIVERED:
        changes["provider"] = receipt.provider  # of several, the one that got through
    return changes


def _reason(receipt: DeliveryReceipt) -> str:
    """The provider's words for what went wrong, or else our kind of error."""
    if not receipt.error_code and not receipt.error_message:
        return ""
    kind = "" if receipt.error_class is None else receipt.get_error_class_display()
    text = receipt.error_message or f"{kind} error".strip().lower()
    return f"{receipt.provider} {receipt.error_code}: {text}"[:500]


def _is_hard_bounce(receipt: DeliveryReceipt) -> bool:
    """Whether the mailbox does not exist. A number out of reach today may be back.

    Failed are those that the provider itself did not send to, as it knows that already.
    """
    message = receipt.message
    return (
        message is not None
        and message.channel == Channel.EMAIL
        and receipt.status in {MessageStatus.BOUNCED, MessageStatus.FAILED}
        and receipt.error_class == ErrorClass.RECIPIENT
    )


def _suppress(receipt: DeliveryReceipt, reason: SuppressionReason) -> None:
    message = receipt.message
    if message is not None:
        suppress([message.recipient], reason=reason, source=receipt.provider)
