"""Taking a recipient out of what is stored, so that what happened still adds up.

Rows stay, for counts, costs and replays go by them; what they say of the person goes.
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

BATCH = 1000  # rows of one transaction
ERASED = "Erased."  # a message's reason
WITHDRAWN = "Its recipient's data is erased."
IN_FLIGHT = "messages being sent"  # may be erased when their outcome is known
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
    """Returns how many rows were changed of each kind, or would be in a dry run.

    1. Withdraw what waits. What is being sent now is left, and counted.
    2. Clear what names it elsewhere, which is found by its messages; then those.
    3. Suppressions stay unless asked for: a no would be forgotten with the person.
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
    """Batches that are done stay done when a later one fails: that is on record."""
    try:
        withdraw(subject.messages, now=now, reason=WITHDRAWN)
        for kind, rows, change in steps:
            counts[kind] = _in_batches(rows, change)
    finally:
        report("erase recipient", None, **counts)  # whom, is nobody's business any more


def _steps(subject: DataSubject, with_suppressions: bool) -> Iterator[_Step]:
    """What is changed, in order, and how; each is empty once it is done."""
    messages = subject.messages.exclude(status=MessageStatus.SENDING)
    attempts = MessageDeliveryAttempt.objects.filter(message__in=messages)
    receipts = subject.receipts.filter(message__in=messages)
    yield "receipts of others", subject.other_receipts(), _blank_raw
    yield "receipts set aside", _set_aside(subject), QuerySet.delete
    yield "kept answers", subject.kept_answers(), _redactor(subject)
    yield "attempts", attempts, _blank_attempts
    yield "receipts", receipts, _blank_receipts
    yield "inbound messages", subject.inbound, _blank_inbound
    yield "messages", messages, _blank_messages
    if with_suppressions:
        yield "suppressions", subject.suppressions, QuerySet.delete


def _set_aside(subject: DataSubject) -> QuerySet[Any]:
    """They moved nothing. Others that wait are applied in a moment."""
    return subject.waiting_receipts().filter(set_aside_at__isnull=False)


def _in_batches(rows: QuerySet[Any], change: _Change) -> int:
    """Along the ids, so that each is changed once."""
    done = last = 0
    while ids := list(
        rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]
    ):
        with transaction.atomic():
            change(rows.model._default_manager.filter(pk__in=ids))
        done, last = done + len(ids), ids[-1]
    return done


def _blank_messages(messages: QuerySet[CampaignMessage]) -> None:
    """Each under a name of its own: a campaign has one message per recipient.

    What was queued meanwhile is left for the next run.
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
    """The event's own id stays, so that a replay of it changes nothing."""
    receipts.update(raw="", external_message_id="", error_message="")


def _blank_raw(receipts: QuerySet[Any]) -> None:
    receipts.update(raw="")


def _blank_inbound(inbound: QuerySet[Any]) -> None:
    inbound.update(sender=_NAME, text="", raw="")


def _redactor(subject: DataSubject) -> _Change:
    def redact(answers: QuerySet[KeptAnswer]) -> None:
        """What else was answered stays, so that nothing is done twice."""
        for kept in answers:
            body = json.loads(kept.body)
            for part in own_parts(subject, body):
                part["to"] = _NAME
            answers.filter(pk=kept.pk).update(body=_compact(body))

    return redact


def _compact(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
