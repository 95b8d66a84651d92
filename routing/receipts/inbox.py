"""The inbox: receipts that are stored, and wait for a worker to apply them.

A webhook call writes one statement here and is answered. It locks no message and looks
nothing up, so that receipts come in as fast as providers post them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Min, QuerySet

from routing.models import WaitingReceipt
from routing.providers.base import Receipt
from routing.receipts.together import Together
from routing.sql_rows import Columns, Row, as_json, derived_table, prepared_cursor
from routing.vocabulary import ErrorClass, MessageStatus

_COLUMNS: Columns = {
    "provider": "text",
    "event_id": "text",
    "receipt": "jsonb",
    "raw": "text",
    "received_at": "timestamptz",
}
_STORE = """
INSERT INTO routing_waitingreceipt ({columns}, problem)
SELECT {columns}, '' FROM {rows} WHERE true
ON CONFLICT (provider, event_id) DO NOTHING
"""
# Kept in columns of their own.
_COLUMNS_OF_ROW = {"event_id", "raw"}
_DEFAULTS = {
    field.name: field.default
    for field in fields(Receipt)
    if field.name not in _COLUMNS_OF_ROW
}
# What JSON has no form for.
_READ: Mapping[str, Callable[[Any], object]] = {
    "status": MessageStatus,
    "error_class": ErrorClass,
    "occurred_at": datetime.fromisoformat,
    "cost": Decimal,
}


class Key(NamedTuple):
    """Which receipt it is."""

    pk: int
    provider: str
    event_id: str


class Waiting(NamedTuple):
    """A receipt that waits to be applied."""

    pk: int
    provider: str
    event_id: str
    receipt: Receipt
    raw: str
    received_at: datetime


class InboxStatus(NamedTuple):
    """What the inbox holds just now."""

    waiting: int
    oldest_received_at: datetime | None
    set_aside: int


def store(
    *, provider_name: str, receipts: Iterable[Receipt], raw: str, now: datetime
) -> list[str]:
    """Store what a provider said, in one statement; returns the ids of the events.

    An event that waits already is left as it is; one that was applied before is
    recognized when it is applied again. `raw` is the whole call, for receipts that do
    not bring their own part of it. Whatever a provider writes, it is stored: an error
    would make it send the whole call again, for days.
    """
    rows = [
        {
            "provider": provider_name,
            "event_id": event_id_of(each),
            "receipt": _as_document(each),
            "raw": each.raw or raw,
            "received_at": now,
        }
        for each in receipts
    ]
    if not rows:
        return []
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        _together.write(rows)
    else:
        _write(rows)
    return [str(row["event_id"]) for row in rows]


def _write(rows: Sequence[Row]) -> None:
    """Once more where the connection has broken meanwhile: nobody has looked at it
    before, which would cost as much again. What is written twice is stored once.
    """
    statement, document = _store_statement(connection.vendor), as_json(rows)
    try:
        with prepared_cursor() as cursor:
            cursor.execute(statement, [document])
    except (OperationalError, InterfaceError):
        connection.close_if_unusable_or_obsolete()
        if connection.connection is not None:
            raise
        with prepared_cursor() as cursor:
            cursor.execute(statement, [document])


_together = Together(_write)


@cache
def _store_statement(_: str) -> str:
    """For the database in use, which the argument names."""
    columns = ", ".join(_COLUMNS)
    return _STORE.format(columns=columns, rows=derived_table(_COLUMNS))


def take(
    *,
    at_most: int,
    provider: str = "",
    event_ids: Collection[str] | None = None,
    skip_locked: bool = True,
) -> list[Waiting]:
    """Lock receipts that wait, the oldest first; within the caller's transaction.

    Those that another worker has locked are left to it, or waited for. With
    `event_ids`, only these of the provider. TypeError or ValueError when one was stored
    in a form that this version does not know.
    """
    locked = _waiting(provider, event_ids).select_for_update(skip_locked=skip_locked)
    values = locked.values_list(
        "pk", "provider", "event_id", "receipt", "raw", "received_at"
    )
    return [
        Waiting(pk, name, event_id, _from_document(event_id, said), raw, received_at)
        for pk, name, event_id, said, raw, received_at in values[:at_most]
    ]


def keys(
    *, at_most: int, provider: str = "", event_ids: Collection[str] | None = None
) -> list[Key]:
    """The receipts that `take` would, without a lock, whatever they say."""
    rows = _waiting(provider, event_ids).values_list(*Key._fields)
    return [Key(*row) for row in rows[:at_most]]


def _waiting(
    provider: str, event_ids: Collection[str] | None
) -> QuerySet[WaitingReceipt]:
    rows = WaitingReceipt.objects.filter(set_aside_at=None).order_by("pk")
    if event_ids is None:
        return rows
    return rows.filter(provider=provider, event_id__in=event_ids)


def discard(waiting: Sequence[Waiting]) -> None:
    """Take out what has been applied."""
    if waiting:
        ids = [each.pk for each in waiting]
        WaitingReceipt.objects.filter(pk__in=ids).delete()


def set_aside(key: Key, problem: str, *, now: datetime) -> None:
    """Take no further notice of one that cannot be applied, and say why."""
    WaitingReceipt.objects.filter(pk=key.pk).update(
        set_aside_at=now, problem=stored_text(problem, 500)
    )


def take_back(ids: Iterable[int]) -> int:
    """Let those that were set aside wait again; returns how many."""
    rows = WaitingReceipt.objects.filter(pk__in=ids, set_aside_at__isnull=False)
    return rows.update(set_aside_at=None, problem="")


def is_receipt_waiting() -> bool:
    """Whether a worker would find any."""
    return WaitingReceipt.objects.filter(set_aside_at=None).exists()


def oldest_received_at() -> datetime | None:
    """When the one came that has waited longest; None when none waits."""
    waiting = WaitingReceipt.objects.filter(set_aside_at=None)
    oldest: datetime | None = waiting.aggregate(at=Min("received_at"))["at"]
    return oldest


def inbox_status(*, at_most: int) -> InboxStatus:
    """What the inbox holds just now, counted no further than a limit."""
    waiting = WaitingReceipt.objects.filter(set_aside_at=None).order_by("pk")
    first = waiting.values_list("received_at", flat=True).first()
    aside = WaitingReceipt.objects.filter(set_aside_at__isnull=False)
    return InboxStatus(waiting[:at_most].count(), first, aside[:at_most].count())


def event_id_of(receipt: Receipt) -> str:
    """The id of the event or, in place of one that is too long, its digest."""
    if receipt.event_id == stored_text(receipt.event_id, 200):
        return receipt.event_id
    return hashlib.sha256(receipt.event_id.encode(errors="replace")).hexdigest()


def stored_text(text: str, limit: int) -> str:
    """At most `limit` characters, without what no database stores."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]


def _as_document(receipt: Receipt) -> dict[str, Any]:
    """What it says beyond what every receipt says."""
    document = {
        name: value
        for name, default in _DEFAULTS.items()
        if (value := getattr(receipt, name)) != default
    }
    if receipt.occurred_at is not None:
        document["occurred_at"] = receipt.occurred_at.isoformat()
    return document


def _from_document(event_id: str, document: Mapping[str, Any]) -> Receipt:
    said = {"status": None, **document}
    for name, read in _READ.items():
        if said.get(name) is not None:
            said[name] = read(said[name])
    return Receipt(event_id=event_id, **said)
