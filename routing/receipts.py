"""Receipts: what providers say later, stored once and passed up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from routing.costs import as_money
from routing.delivery_quality import note_receipt
from routing.email_addresses import is_same_mailbox
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.providers.base import Receipt
from routing.reference import AttemptReference
from routing.retry import next_midnight
from routing.signals import receipt_recorded
from routing.statistics import keep
from routing.tally import TallySheet
from routing.vocabulary import Channel


def record_receipts(
    *, provider_name: str, receipts: Iterable[Receipt], raw: str, now: datetime
) -> int:
    """Store receipts and tell who listens; returns how many were new.

    For each, in a transaction of its own:
    1. find the attempt: by our reference, else by the provider's id
    2. store the receipt, unless this very event is already there
    3. when the message is known: put the cost that it tells onto the attempt, count it
       for or against the provider's quality, and send `receipt_recorded`
    """
    return sum(
        _record(provider_name, receipt, raw=raw, now=now) for receipt in receipts
    )


def _record(provider_name: str, receipt: Receipt, *, raw: str, now: datetime) -> bool:
    with transaction.atomic():
        reference = _find(provider_name, receipt)
        row, is_new = DeliveryReceipt.objects.get_or_create(
            provider=provider_name,
            event_id=_event_id(receipt),
            defaults={
                "message_id": reference.message_id if reference else None,
                "attempt_number": reference.attempt_number if reference else None,
                "received_at": now,
                "raw": (receipt.raw or raw).replace("\0", ""),
                **_columns(receipt),
            },
        )
        if is_new and reference:
            _correct_cost(row, reference)
            message = row.message
            if message is not None:
                note_receipt(
                    row,
                    channel=Channel(message.channel),
                    country=message.country,
                    now=now,
                )
            receipt_recorded.send(
                DeliveryReceipt,
                receipt=row,
                opted_out=receipt.opted_out,
                complained=receipt.complained,
                resumes_at=(
                    next_midnight(now, receipt.cap_zone) if receipt.cap_zone else None
                ),
                now=now,
            )
    return is_new


def _correct_cost(receipt: DeliveryReceipt, about: AttemptReference) -> None:
    """What the provider charges takes the place of what was estimated.

    An attempt that is not on record yet gets it when it is: `correct_costs`.
    """
    if receipt.cost is None:
        return
    attempts = MessageDeliveryAttempt.objects.filter(
        message=about.message_id,
        attempt_number=about.attempt_number,
        provider=receipt.provider,
    )
    sheet = TallySheet()
    for attempt in attempts:
        sheet.change_cost(vars(attempt), cost=receipt.cost, currency=receipt.currency)
    attempts.update(cost=receipt.cost, currency=receipt.currency)
    keep(sheet)


def correct_costs(message_ids: Iterable[int]) -> None:
    """Put what earlier receipts tell onto attempts that have only now been recorded.

    Rare: one by one, in the order that they came. One that was heeded before changes
    nothing.
    """
    receipts = DeliveryReceipt.objects.filter(
        message__in=message_ids, attempt_number__isnull=False, cost__isnull=False
    ).order_by("received_at", "id")
    for receipt in receipts:
        if receipt.message_id is not None and receipt.attempt_number is not None:
            about = AttemptReference(receipt.message_id, receipt.attempt_number)
            _correct_cost(receipt, about)


def _columns(receipt: Receipt) -> dict[str, Any]:
    """The receipt as our columns hold it.

    Whatever a provider writes, it is stored: an error would make it send the whole
    batch again, for days.
    """
    cost = as_money(receipt.cost, receipt.currency)
    return {
        "external_message_id": _text(receipt.external_message_id, 200),
        "status": receipt.status,
        "provider_status": _text(receipt.provider_status, 50),
        "error_class": receipt.error_class,
        "error_code": _text(receipt.error_code, 100),
        "error_message": _text(receipt.error_message, 500),
        "cost": cost and cost.amount,
        "currency": cost.currency if cost else "",
        "occurred_at": receipt.occurred_at,
    }


def _text(text: str, limit: int) -> str:
    """At most `limit` characters, without what no database stores."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]


def _event_id(receipt: Receipt) -> str:
    """The id of the event or, in place of one that is too long, its digest."""
    if receipt.event_id == _text(receipt.event_id, 200):
        return receipt.event_id
    return hashlib.sha256(receipt.event_id.encode(errors="replace")).hexdigest()


def _find(provider_name: str, receipt: Receipt) -> AttemptReference | None:
    """The attempt that a receipt is about; None when we never sent such a message.

    A reference whose message does not exist, or went to another address, is no
    reference: the provider's account may be shared with another installation, whose
    messages count from 1 as ours do.
    """
    reference = AttemptReference.parse(receipt.reference)
    if reference and _lock_message(reference.message_id, email=receipt.email):
        return reference
    attempt = (
        MessageDeliveryAttempt.objects.filter(
            provider=provider_name,
            external_message_id=_text(receipt.external_message_id, 200),
        )
        .exclude(external_message_id="")
        .first()
    )
    if attempt is None or not _lock_message(attempt.message_id):
        return None
    return AttemptReference(attempt.message_id, attempt.attempt_number)


def _lock_message(message_id: int, *, email: str = "") -> bool:
    """Whether there is one, to this address; its worker records before or after us."""
    message = DeliveryReceipt.message.field.related_model
    rows = message._default_manager.select_for_update().filter(pk=message_id)
    recipients = list(rows.values_list("recipient", flat=True))
    return any(not email or is_same_mailbox(each, email) for each in recipients)
