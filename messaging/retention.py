"""Delete old data: whole messages, their attempts, or only their texts.

It goes in batches, each in one short transaction, oldest first. Locked rows are left
for the next run, so that workers hardly notice. Unfinished messages, and messages of
campaigns that are not over, always stay: they also keep their recipients from getting
the same message again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from messaging.models import CampaignMessage, RetentionMark
from messaging.vocabulary import CampaignStatus
from routing.models import (
    DeliveryReceipt,
    InboundMessage,
    MessageDeliveryAttempt,
    WaitingReceipt,
)
from routing.vocabulary import MessageStatus

BATCH_SIZE = 1000  # rows read per transaction, and the most that it changes

_UNFINISHED = [MessageStatus.QUEUED, MessageStatus.SENDING]
_IS_OVER = Q(campaign__is_standing=True) | Q(
    campaign__status__in=[CampaignStatus.COMPLETED, CampaignStatus.CANCELLED]
)

Rows = QuerySet[Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """The age at which data is deleted; None: never."""

    messages_after: timedelta | None = None  # with their attempts and receipts
    attempts_after: timedelta | None = None  # and receipts
    inbound_after: timedelta | None = None
    content_after: timedelta | None = None  # texts, and the raw form of receipts


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction did, or would do in a dry run."""

    step: str
    count: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One table, and what happens to its old rows."""

    name: str
    model: type[models.Model]
    time: str  # the field with a row's age; it grows with the id
    blank: Mapping[str, str] = field(default_factory=dict)  # empty: rows are deleted

    def rows(self, ids: Sequence[int], before: datetime) -> Rows:
        """The rows of a page that may be deleted or blanked."""
        rows: Rows = self.model._default_manager.filter(
            pk__in=ids, **{f"{self.time}__lt": before}
        )
        if self.model is CampaignMessage:
            rows = _ended(rows, before)
        elif self.model is WaitingReceipt:
            rows = rows.filter(set_aside_at__isnull=False)
        elif self.model is not InboundMessage:
            rows = rows.exclude(message__status__in=_UNFINISHED)
        is_blank = Q(**self.blank)
        return (rows.exclude(is_blank) if self.blank else rows).order_by()

    def apply(self, rows: Rows) -> int:
        """Delete or blank the rows, within a transaction; locked rows are skipped."""
        locked = rows.select_for_update(skip_locked=True, of=("self",))
        mine = list(locked.values_list("pk", flat=True))
        rows = self.model._default_manager.filter(pk__in=mine)
        if self.blank:
            return rows.update(**self.blank)
        if self.model is CampaignMessage:
            DeliveryReceipt.objects.filter(message__in=mine).delete()
            MessageDeliveryAttempt.objects.filter(message__in=mine).delete()
        # `delete()` would fetch each row to check what refers to it: ten times slower,
        # and the database's foreign keys check that anyway.
        rows._raw_delete(rows.db)
        return len(mine)


MESSAGES = _Step("messages", CampaignMessage, "created_at")
ATTEMPTS = _Step("attempts", MessageDeliveryAttempt, "attempted_at")
RECEIPTS = _Step("receipts", DeliveryReceipt, "received_at")
SET_ASIDE = _Step("receipts set aside", WaitingReceipt, "received_at")
INBOUND = _Step("inbound messages", InboundMessage, "received_at")
TEXTS = _Step("texts", CampaignMessage, "created_at", {"subject": "", "body": ""})
RAW_RECEIPTS = _Step("raw receipts", DeliveryReceipt, "received_at", {"raw": ""})
RAW_INBOUND = _Step(
    "raw inbound messages", InboundMessage, "received_at", {"text": "", "raw": ""}
)


def prune(
    policy: Policy,
    *,
    now: datetime,
    is_dry_run: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Batch]:
    """Delete what the policy says; yields after each transaction."""
    for step, age in (
        (MESSAGES, policy.messages_after),
        (ATTEMPTS, policy.attempts_after),
        (RECEIPTS, policy.attempts_after),
        (SET_ASIDE, policy.attempts_after),
        (INBOUND, policy.inbound_after),
        (TEXTS, policy.content_after),
        (RAW_RECEIPTS, policy.content_after),
        (RAW_INBOUND, policy.content_after),
    ):
        if age is not None:
            before = now - age
            for ids in _old_pages(step, before, batch_size):
                rows = step.rows(ids, before)
                count = rows.count() if is_dry_run else _clear(step, rows, before)
                yield Batch(step.name, count)


def _clear(step: _Step, rows: Rows, before: datetime) -> int:
    with transaction.atomic():
        RetentionMark.objects.update_or_create(
            step=step.name, defaults={"cleared_before": before}
        )
        return step.apply(rows)


def _old_pages(step: _Step, before: datetime, size: int) -> Iterator[list[int]]:
    """The ids of a table's old rows, page by page, until a page has none.

    Pages follow the primary key: an index on the age would cost every message more than
    it saves here.
    """
    last = 0
    while True:
        rows = step.model._default_manager.filter(pk__gt=last).order_by("pk")
        page = list(rows.values_list("pk", step.time)[:size])
        ids = [pk for pk, at in page if at < before]
        if not ids:
            return
        yield ids
        last = page[-1][0]


def _ended(messages: Rows, before: datetime) -> Rows:
    """Messages that ended before this time and will not be sent again."""
    ended: Rows = (
        messages.exclude(status__in=_UNFINISHED)
        .annotate(ended_at=Coalesce("finished_at", "sent_at", "created_at"))
        .filter(_IS_OVER, ended_at__lt=before)
    )
    return ended
