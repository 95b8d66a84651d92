"""Receipts: what providers say later, stored once and passed up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from routing.health.delivery_rates import note_receipt
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.money import as_money
from routing.providers.base import Receipt
from routing.receipts.matching import Disagreement, match, stored_text
from routing.receipts.part_receipts import news_of_parts, note_parts, receipts_of_parts
from routing.receipts.webhook_counts import counter
from routing.reference import AttemptReference
from routing.rules.retry import next_midnight
from routing.rules.tally import TallySheet
from routing.signals import receipt_recorded
from routing.statistics.entries import save_counts
from routing.vocabulary import WebhookOutcome


def record_receipts(
    *, provider_name: str, receipts: Iterable[Receipt], raw: str, now: datetime
) -> int:
    """Store receipts and tell who listens; returns how many were new.

    For each, in a transaction of its own:
    1. find the attempt: by our reference, else by the provider's id
    2. store the receipt, unless this very event is already there
    3. when the message is known: put the cost that it tells onto the attempt, count it
       for or against the provider's quality, and send `receipt_recorded`
    Then count those that no message was found for, or that disagree with theirs.
    """
    return sum(
        _record(provider_name, receipt, raw=raw, now=now) for receipt in receipts
    )


def _record(provider_name: str, receipt: Receipt, *, raw: str, now: datetime) -> bool:
    with transaction.atomic():
        found = match(provider_name, receipt, now=now)
        reference = found.about
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
            _pass_on(row, receipt, now)
    if is_new and reference is None:
        _count_stray(provider_name, found.disagreement, now)
    return is_new


def _pass_on(row: DeliveryReceipt, receipt: Receipt, now: datetime) -> None:
    """Tell what it says of the message: of one in parts, that is not what it says."""
    told = receipts_of_parts(row)
    if told:
        note_parts(row, told, now=now)
    else:
        note_receipt(row, now=now)
    news = news_of_parts(row, told) if told else [row]
    for each in news:
        receipt_recorded.send(
            DeliveryReceipt,
            receipt=each,
            is_sum_of_parts=bool(told) and each is news[-1],
            opted_out=receipt.opted_out,
            complained=receipt.complained,
            resumes_at=(
                next_midnight(now, receipt.cap_zone) if receipt.cap_zone else None
            ),
            now=now,
        )


def _count_stray(provider: str, why: Disagreement | None, now: datetime) -> None:
    """It is stored, and moves nothing: somebody should see it."""
    if why is None:
        counter.count(provider, WebhookOutcome.UNMATCHED, now=now)
    else:
        counter.count(provider, WebhookOutcome.DISAGREES, detail=why.value, now=now)


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
    save_counts(sheet)


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
        "external_message_id": stored_text(receipt.external_message_id, 200),
        "status": receipt.status,
        "provider_status": stored_text(receipt.provider_status, 50),
        "error_class": receipt.error_class,
        "error_code": stored_text(receipt.error_code, 100),
        "error_message": stored_text(receipt.error_message, 500),
        "cost": cost and cost.amount,
        "currency": cost.currency if cost else "",
        "occurred_at": receipt.occurred_at,
    }


def _event_id(receipt: Receipt) -> str:
    """The id of the event or, in place of one that is too long, its digest."""
    if receipt.event_id == stored_text(receipt.event_id, 200):
        return receipt.event_id
    return hashlib.sha256(receipt.event_id.encode(errors="replace")).hexdigest()
