"""All data stored about one recipient."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import idna
from django.db.models import Model, Q, QuerySet

from messaging.addresses import AddressError, address_in
from messaging.models import (
    CampaignMessage,
    CampaignMessageQuerySet,
    KeptAnswer,
    Suppression,
)
from routing.models import DeliveryReceipt, InboundMessage, WaitingReceipt
from routing.signals import report
from routing.text.email_addresses import is_same_mailbox
from routing.text.recipient_keys import address_key, address_spellings

_SHORTEST_TRACE = 7  # characters of an address to search for in other texts
Row = dict[str, Any]


@dataclass(frozen=True)
class DataSubject:
    """The person whose data it is: an address, as typed."""

    typed: str

    @cached_property
    def addresses(self) -> frozenset[str]:
        """The forms in which messages, suppressions and inbound texts may have it."""
        try:
            address = address_in(self.typed)
        except AddressError:
            address = self.typed.strip()
        numbers = {each.removeprefix("+") for each in address_spellings(address)}
        in_script = {_in_script(address)} if "@" in address else numbers
        return frozenset({address, *address_spellings(address), *in_script})

    @property
    def suppressions(self) -> QuerySet[Suppression]:
        """Its suppressions, by the key that addresses are compared by."""
        keys = {address_key(each) for each in self.addresses}
        return Suppression.objects.filter(address__in={*keys, *self.addresses})

    @property
    def messages(self) -> CampaignMessageQuerySet:
        """All messages sent to it, or queued for it."""
        return CampaignMessage.objects.filter(recipient__in=self.addresses)

    @property
    def inbound(self) -> QuerySet[InboundMessage]:
        """All texts received from it."""
        return InboundMessage.objects.filter(sender__in=self.addresses)

    @property
    def receipts(self) -> QuerySet[DeliveryReceipt]:
        """The receipts for its messages."""
        return DeliveryReceipt.objects.filter(message__in=self.messages)

    def other_receipts(self) -> QuerySet[DeliveryReceipt]:
        """Receipts for others' messages, or for none, whose raw form names it.

        One webhook call may report on many messages; it is stored with each of them.
        """
        own = self.receipts
        calls = own.order_by().values("received_at")
        candidates = DeliveryReceipt.objects.filter(
            Q(message=None) | Q(received_at__in=calls)
        )
        candidates = candidates.exclude(pk__in=own.order_by().values("pk"))
        mentioned = candidates.filter(self._mentioned_in("raw")).values_list(
            "pk", "raw"
        )
        named = [pk for pk, raw in mentioned.iterator() if self.named_in(raw)]
        return DeliveryReceipt.objects.filter(pk__in=named)

    def waiting_receipts(self) -> QuerySet[WaitingReceipt]:
        """Receipts that name it and are not applied yet, or cannot be."""
        return WaitingReceipt.objects.filter(self._mentioned_in("raw"))

    def kept_answers(self) -> QuerySet[KeptAnswer]:
        """Stored responses to requests with an Idempotency-Key that name it."""
        return KeptAnswer.objects.filter(self._mentioned_in("body"))

    def named_in(self, text: str) -> bool:
        """Whether a text contains one of its addresses, in any usual encoding."""
        return any(
            re.search(_within(trace), text, re.IGNORECASE) for trace in self._traces
        )

    @cached_property
    def _traces(self) -> list[str]:
        """Its addresses as written in JSON and in forms; numbers with any prefix."""
        texts = {each.removeprefix("+") for each in self.addresses}
        texts |= {json.dumps(each)[1:-1] for each in texts}
        texts |= {each.replace("@", "%40") for each in texts}
        return sorted(each for each in texts if len(each) >= _SHORTEST_TRACE)

    def _mentioned_in(self, field: str) -> Q:
        mentioned = Q(pk__in=[])
        for trace in self._traces:
            mentioned |= Q(**{f"{field}__icontains": trace})
        return mentioned


def _within(trace: str) -> str:
    """A pattern for the trace, but not as part of another number or name."""
    if trace.isdigit():
        return rf"(?<![0-9]){trace}(?![0-9])"
    before = r"(?:(?<![0-9A-Za-z._+%-])|(?<=%22)|(?<=%3C))"
    return rf"{before}{re.escape(trace)}(?![0-9A-Za-z-])"


def export(subject: DataSubject) -> Row:
    """All data about the subject, as plain values."""
    messages = [*map(_message, _whole_messages(subject))]
    report("export recipient", messages=len(messages))
    return {
        "addresses": sorted(subject.addresses),
        "suppressions": _rows(subject.suppressions.order_by("pk")),
        "messages": messages,
        "receiptsWithoutMessage": [
            _receipt(subject, receipt)
            for receipt in subject.other_receipts().filter(message=None)
        ],
        "waitingReceipts": _rows(subject.waiting_receipts().order_by("pk")),
        "inboundMessages": _rows(subject.inbound.order_by("pk")),
        "keptAnswers": [
            {"createdAt": each.created_at, "answers": _answers(subject, each)}
            for each in subject.kept_answers().order_by("pk")
        ],
    }


def own_parts(subject: DataSubject, answer: Any) -> Iterator[Row]:
    """The parts of a response that are about the subject's messages."""
    if isinstance(answer, dict):
        if answer.get("to") in subject.addresses:
            yield answer
        answer = list(answer.values())
    if isinstance(answer, list):
        for part in answer:
            yield from own_parts(subject, part)


def _whole_messages(subject: DataSubject) -> Iterator[tuple[DataSubject, Any]]:
    messages = subject.messages.select_related("campaign").order_by("pk")
    for message in messages.prefetch_related("attempts", "receipts").iterator(1000):
        yield subject, message


def _message(found: tuple[DataSubject, CampaignMessage]) -> Row:
    """A message with the text that its recipient got, its attempts and receipts."""
    subject, message = found
    return {
        **_row(message),
        "campaign_name": message.campaign.name,
        "subject": message.subject or message.campaign.subject,
        "body": message.body or message.campaign.body,
        "media_urls": message.media,
        "attempts": _rows(message.attempts.all()),
        "receipts": [_receipt(subject, each) for each in message.receipts.all()],
    }


def _receipt(subject: DataSubject, receipt: DeliveryReceipt) -> Row:
    return _row(receipt) | {"raw": _own_events(subject, receipt.raw)}


def _own_events(subject: DataSubject, raw: str) -> str:
    """The events about this recipient, from a call that reports on many e-mails."""
    try:
        events = json.loads(raw)
    except ValueError:
        return raw
    if not isinstance(events, list):
        return raw
    own = [event for event in events if _is_about(subject, event)]
    return json.dumps(own, ensure_ascii=False)


def _is_about(subject: DataSubject, event: Any) -> bool:
    email = str(event.get("email", "")) if isinstance(event, dict) else ""
    return any(is_same_mailbox(email, each) for each in subject.addresses)


def _answers(subject: DataSubject, kept: KeptAnswer) -> list[Row]:
    return list(own_parts(subject, json.loads(kept.body)))


def _rows(rows: Iterable[Model]) -> list[Row]:
    return [*map(_row, rows)]


def _row(row: Model) -> Row:
    """All columns, by their names."""
    return {field.attname: getattr(row, field.attname) for field in row._meta.fields}


def _in_script(address: str) -> str:
    """The address with its domain in native script, as messages used to have it."""
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{idna.decode(domain)}"
    except idna.IDNAError:
        return address
