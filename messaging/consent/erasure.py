"""Erase a recipient's data, so that the records still add up.

Rows stay, because counts, costs and replays need them; what identifies the person goes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.fields import CharField
from django.db.models.functions import Cast, Concat

from messaging.consent.personal_data import DataSubject, own_parts
from messaging.models import ERASED_RECIPIENT, CampaignMessage, KeptAnswer
from messaging.transitions import withdraw
from routing.models import MessageDeliveryAttempt
from routing.signals import report
from routing.vocabulary import MessageStatus

BATCH = 1000  # rows per transaction
ERASED = "Erased."  # a message's reason
WITHDRAWN = "The recipient's data was erased."
IN_FLIGHT = "messages being sent"  # can be erased once their outcome is known
_NAME = "erased"
_Change = Callable[[QuerySet[Any]], object]
_Step = tuple[str, QuerySet[Any], _Change]


def erase(
    subject: DataSubject,
    *,
    now: datetime,
    is_dry_run: bool = False,
    with_suppressions: bool = False,
) -> Counter[str]:
    """Erase the subject's data; returns how many rows of each kind changed, or would
    change in a dry run.

    1. Withdraw queued messages. Messages being sent now are left, and counted.
    2. Clear other rows that name the subject, which are found by its messages; then the
       messages.
    3. Keep suppressions unless asked: otherwise the opt-out would be lost.
    """
    counts = Counter[str]()
    steps = _steps(subject, with_suppressions)
    if is_dry_run:
        counts.update({kind: rows.count() for kind, rows, _ in steps})
    else:
        _erase(subject, steps, counts, now)
    counts[IN_FLIGHT] = subject.messages.sending().count()
    return counts


def _erase(
    subject: DataSubject, steps: Iterable[_Step], counts: Counter[str], now: datetime
) -> None:
    """Finished batches stay done if a later one fails; the audit has what was done."""
    try:
        withdraw(subject.messages, now=now, reason=WITHDRAWN)
        for kind, rows, change in steps:
            counts[kind] = _in_batches(rows, change)
    finally:
        report("erase recipient", None, **counts)  # without the address


def _steps(subject: DataSubject, with_suppressions: bool) -> Iterator[_Step]:
    """The rows to change, in order, and how; each set is empty once it is done."""
    messages = subject.messages.exclude(status=MessageStatus.SENDING)
    attempts = MessageDeliveryAttempt.objects.filter(message__in=messages)
    receipts = subject.receipts.filter(message__in=messages)
    yield "receipts of others", subject.other_receipts(), _blank_raw
    yield "receipts set aside", _set_aside(subject), QuerySet.delete
    yield "stored responses", subject.kept_answers(), _redactor(subject)
    yield "attempts", attempts, _blank_attempts
    yield "receipts", receipts, _blank_receipts
    yield "inbound messages", subject.inbound, _blank_inbound
    yield "messages", messages, _blank_messages
    if with_suppressions:
        yield "suppressions", subject.suppressions, QuerySet.delete


def _set_aside(subject: DataSubject) -> QuerySet[Any]:
    """Receipts set aside changed no message. Other waiting ones are applied shortly."""
    return subject.waiting_receipts().filter(set_aside_at__isnull=False)


def _in_batches(rows: QuerySet[Any], change: _Change) -> int:
    """Change the rows in order of their ids, so that each is changed once."""
    done = last = 0
    while ids := list(
        rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]
    ):
        with transaction.atomic():
            change(rows.model._default_manager.filter(pk__in=ids))
        done, last = done + len(ids), ids[-1]
    return done


def _blank_messages(messages: QuerySet[CampaignMessage]) -> None:
    """Each gets a unique recipient: a campaign has one message per recipient.

    Messages queued since the run began are left for the next run.
    """
    messages.exclude(status__in=[MessageStatus.QUEUED, MessageStatus.SENDING]).update(
        recipient=Concat(Value(ERASED_RECIPIENT), Cast(F("pk"), CharField())),
        subject="",
        body="",
        media_urls=[],
        status_reason=ERASED,
    )


def _blank_attempts(attempts: QuerySet[Any]) -> None:
    attempts.update(external_message_id="", error_message="")


def _blank_receipts(receipts: QuerySet[Any]) -> None:
    """The event id stays, so that a replay changes nothing."""
    receipts.update(raw="", external_message_id="", error_message="")


def _blank_raw(receipts: QuerySet[Any]) -> None:
    receipts.update(raw="")


def _blank_inbound(inbound: QuerySet[Any]) -> None:
    inbound.update(sender=_NAME, text="", raw="")


def _redactor(subject: DataSubject) -> _Change:
    def redact(answers: QuerySet[KeptAnswer]) -> None:
        """The rest of the answer stays, so that repeats still take effect once."""
        for kept in answers:
            body = json.loads(kept.body)
            for part in own_parts(subject, body):
                part["to"] = _NAME
            answers.filter(pk=kept.pk).update(body=_compact(body))

    return redact


def _compact(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
