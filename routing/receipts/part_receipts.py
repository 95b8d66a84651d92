"""Receipts of parts, as they count for their message (`routing.receipts.parts`)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from datetime import datetime

from routing.health.delivery_rates import note_verdict
from routing.models import DeliveryReceipt
from routing.providers.registry import registry
from routing.receipts.parts import LOST, PartReceipt, Whole, whole_of
from routing.vocabulary import MessageStatus


def receipts_of_parts(receipt: DeliveryReceipt) -> list[DeliveryReceipt]:
    """All receipts of its attempt, when they are of parts; none when it speaks of the
    whole message, as most do.
    """
    message = receipt.message
    if message is None or not _has_receipt_per_part(receipt.provider):
        return []
    told = message.receipts.filter(
        provider=receipt.provider, attempt_number=receipt.attempt_number
    )
    receipts = list(told.order_by("received_at", "id"))
    is_long = message.segments > 1
    several = len({each.external_message_id for each in receipts}) > 1
    return receipts if is_long or several else []


def news_of_parts(
    receipt: DeliveryReceipt, told: Sequence[DeliveryReceipt]
) -> list[DeliveryReceipt]:
    """What is now to be said of the message, as receipts that speak of all of it."""
    news = _whole(receipt, told).news
    said = [_speaking_of_all(receipt, told, each) for each in news]
    return said or [_speaking_of_all(receipt, told, None)]


def note_parts(
    receipt: DeliveryReceipt, told: Sequence[DeliveryReceipt], *, now: datetime
) -> None:
    """Count the verdict on the message for or against its provider, the first time."""
    before = _whole(receipt, [each for each in told if each.pk != receipt.pk])
    after = _whole(receipt, told)
    if before.status in {None, MessageStatus.SENT}:
        note_verdict(_speaking_of_all(receipt, told, after.status), now=now)


def _whole(receipt: DeliveryReceipt, told: Sequence[DeliveryReceipt]) -> Whole:
    message = receipt.message
    return whole_of(
        [PartReceipt(each.external_message_id, each.status) for each in told],
        parts=message.segments if message else 1,
    )


def _speaking_of_all(
    receipt: DeliveryReceipt,
    told: Sequence[DeliveryReceipt],
    status: MessageStatus | None,
) -> DeliveryReceipt:
    """As the receipt of the part that decided it, and with its reason."""
    if status in LOST:
        lost = (each for each in told if each.status == status)
        return _of(receipt, copy(next(lost, receipt)))
    spoken = _of(receipt, copy(receipt))
    spoken.status = status
    spoken.error_class, spoken.error_code, spoken.error_message = None, "", ""
    return spoken


def _of(receipt: DeliveryReceipt, spoken: DeliveryReceipt) -> DeliveryReceipt:
    """About the same message, not another copy of it."""
    spoken.message = receipt.message
    return spoken


def _has_receipt_per_part(provider: str) -> bool:
    is_known = provider in registry.names()
    return is_known and registry.provider_class(provider).has_receipt_per_part
