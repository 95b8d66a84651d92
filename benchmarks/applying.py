"""Receipts that wait, applied by one worker that does nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.utils import timezone

from benchmarks.copies import copy_to_all
from benchmarks.drain import drain
from benchmarks.processor_time import database_server, seconds_of
from benchmarks.rows import progress
from benchmarks.signed_receipts import SENT_AND_DELIVERED
from benchmarks.stage import close_campaigns, queue, tidy
from messaging.models import CampaignMessage
from messaging.queue.receipts import apply_receipts
from messaging.vocabulary import CampaignStatus
from routing.models import DeliveryReceipt, WaitingReceipt
from routing.providers.base import Receipt
from routing.receipts.inbox import store
from routing.reference import reference_for
from routing.vocabulary import MessageStatus

PROVIDER = "TwilioSMS"
STATUSES = (MessageStatus.SENT, MessageStatus.DELIVERED)
STORED_AT_ONCE = 1000


def applied_ms(messages: int) -> float:
    """Processor time of a receipt, by this process and the database, in ms: of two for
    each message, all that say "sent" before all that say "delivered".
    """
    ids = send(messages)
    _store(ids)
    tidy()
    processes = (os.getpid(), *database_server())
    before = seconds_of(*processes)
    while apply_receipts(now=timezone.now()).done:
        pass
    cpu = seconds_of(*processes) - before
    delivered = CampaignMessage.objects.filter(status=MessageStatus.DELIVERED)
    assert delivered.filter(pk__in=ids).count() == messages
    assert not WaitingReceipt.objects.exists()
    return cpu / (2 * messages) * 1000


def send(messages: int) -> list[int]:
    """A campaign that is on record as sent; the ids of its messages."""
    campaign = queue(messages)
    drain()
    close_campaigns()
    return list(campaign.messages.order_by("pk").values_list("pk", flat=True))


def recipients_of(ids: list[int]) -> list[tuple[int, str]]:
    """Messages by id, and whom they went to."""
    messages = CampaignMessage.objects.filter(pk__in=ids).order_by("pk")
    return list(messages.values_list("pk", "recipient"))


def put_on_record(receipts: int) -> None:
    """Receipts of earlier messages, two of each."""
    progress(f"making {receipts:,} receipts")
    campaign = queue(receipts // 2, status=CampaignStatus.COMPLETED)
    messages = CampaignMessage.objects.filter(campaign=campaign)
    now = timezone.now()
    messages.update(
        status=MessageStatus.DELIVERED,
        provider=PROVIDER,
        attempt_count=1,
        sent_at=now,
        finished_at=now,
    )
    first = messages.order_by("pk")[0]
    for status, word in zip(STATUSES, SENT_AND_DELIVERED[PROVIDER], strict=True):
        receipt = DeliveryReceipt.objects.create(
            provider=PROVIDER,
            event_id=f"earlier-{first.pk}:{word}",
            message=first,
            attempt_number=1,
            external_message_id="earlier",
            status=status,
            provider_status=word,
            received_at=now,
            raw=300 * "x",
        )
        copy_to_all(receipt, campaign, event_id=f"'earlier-' || m.id || ':{word}'")
    tidy()


def _store(ids: list[int]) -> None:
    receipts = list(_said(ids))
    for start in range(0, len(receipts), STORED_AT_ONCE):
        store(
            provider_name=PROVIDER,
            receipts=receipts[start : start + STORED_AT_ONCE],
            raw=300 * "x",
            now=timezone.now(),
        )


def _said(ids: list[int]) -> Iterator[Receipt]:
    for status, word in zip(STATUSES, SENT_AND_DELIVERED[PROVIDER], strict=True):
        for pk in ids:
            yield Receipt(
                event_id=f"SM{pk:032x}:{word}",
                reference=reference_for(pk, 1, provider=PROVIDER),
                external_message_id=f"SM{32 * '0'}{pk}",
                status=status,
                provider_status=word,
            )
