"""Receipts on record: what providers said, each event once, beside its attempt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.db import connection

from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.money import as_money
from routing.receipts.inbox import Waiting, stored_text
from routing.receipts.matching import Match
from routing.receipts.news import News
from routing.rules.tally import TallySheet
from routing.sql_rows import Columns, Row, as_json, derived_table, prepared_cursor
from routing.vocabulary import ErrorClass, MessageStatus

_COLUMNS: Columns = {
    "provider": "text",
    "event_id": "text",
    "message_id": "bigint",
    "attempt_number": "smallint",
    "external_message_id": "text",
    "status": "smallint",
    "provider_status": "text",
    "error_class": "smallint",
    "error_code": "text",
    "error_message": "text",
    "cost": "numeric",
    "currency": "text",
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "raw": "text",
}
_APPEND = """
INSERT INTO routing_deliveryreceipt ({columns}) SELECT {values} FROM {rows} WHERE true
ON CONFLICT (provider, event_id) DO NOTHING RETURNING provider, event_id, id
"""
_COST_COLUMNS: Columns = {"id": "bigint", "cost": "numeric", "currency": "text"}
_CORRECT_COSTS = """
UPDATE routing_messagedeliveryattempt SET cost = v.cost, currency = v.currency
FROM {rows} WHERE routing_messagedeliveryattempt.id = v.id
"""


def append(waiting: Sequence[Waiting], matches: Mapping[int, Match]) -> dict[int, int]:
    """Put receipts on record, in one statement; the ids of the new ones, by
    `Waiting.pk`. An event that is there already stays as it is.
    """
    if not waiting:
        return {}
    rows = [_row(each, matches[each.pk]) for each in waiting]
    with prepared_cursor() as cursor:
        cursor.execute(_append_statement(connection.vendor), [as_json(rows)])
        new = {(provider, event_id): pk for provider, event_id, pk in cursor.fetchall()}
    keys = ((each.pk, (each.provider, each.event_id)) for each in waiting)
    return {pk: new[key] for pk, key in keys if key in new}


def receipts_of(message_ids: Collection[int]) -> dict[int, list[News]]:
    """What is on record of messages, in the order in which it was applied.

    Not by `received_at`: that is by the clock of a web host, and what came first by it
    may have been stored, and applied, after the others.
    """
    found: dict[int, list[News]] = {}
    if message_ids:
        rows = DeliveryReceipt.objects.filter(
            message__in=message_ids, attempt_number__isnull=False
        )
        columns = ("pk", *News._fields[1:])
        for row in rows.order_by("id").values_list(*columns):
            found.setdefault(row[1] or 0, []).append(News(*row))
    return found


def failures_reported(
    message_ids: Collection[int],
) -> dict[tuple[int, int], ErrorClass]:
    """The class of the failure that receipts report, by message and attempt number."""
    said = DeliveryReceipt.objects.filter(
        message__in=message_ids,
        attempt_number__isnull=False,
        status__in=[MessageStatus.FAILED, MessageStatus.BOUNCED],
        error_class__isnull=False,
    )
    columns = ("message_id", "attempt_number", "error_class")
    return {
        (message or 0, number or 0): ErrorClass(error_class or 0)
        for message, number, error_class in said.order_by("id").values_list(*columns)
    }


def correct_costs(receipts: Iterable[News], sheet: TallySheet) -> None:
    """Put what the provider charges in the place of what was estimated.

    In the order of the receipts. An attempt that is not on record yet gets
    its cost when it is. What is heeded already changes nothing.
    """
    said = {
        (each.message_id, each.attempt_number, each.provider): each
        for each in receipts
        if each.cost is not None
    }
    if not said:
        return
    attempts = MessageDeliveryAttempt.objects.filter(
        message__in={message for message, _, _ in said}
    )
    corrections = []
    for attempt in attempts.defer("decision"):
        key = (attempt.message_id, attempt.attempt_number, attempt.provider)
        if (news := said.get(key)) is None or news.cost is None:
            continue
        cost, currency = news.cost, news.currency
        if (attempt.cost, attempt.currency) == (cost, currency):
            continue
        sheet.change_cost(vars(attempt), cost=cost, currency=currency)
        corrections.append({"id": attempt.pk, "cost": cost, "currency": currency})
    if corrections:
        statement = _CORRECT_COSTS.format(rows=derived_table(_COST_COLUMNS))
        with prepared_cursor() as cursor:
            cursor.execute(statement, [as_json(corrections)])


@cache
def _append_statement(_: str) -> str:
    """For the database in use, which the argument names."""
    never_null = {
        "external_message_id",
        "error_code",
        "error_message",
        "currency",
        "provider_status",
    }
    return _APPEND.format(
        columns=", ".join(_COLUMNS),
        values=", ".join(
            f"COALESCE(v.{name}, '')" if name in never_null else f"v.{name}"
            for name in _COLUMNS
        ),
        rows=derived_table(_COLUMNS),
    )


def _row(waiting: Waiting, match: Match) -> Row:
    """The receipt as our columns hold it."""
    receipt, about = waiting.receipt, match.about
    row: dict[str, Any] = {
        "provider": waiting.provider,
        "event_id": waiting.event_id,
        "external_message_id": stored_text(receipt.external_message_id, 200),
        "status": receipt.status,
        "provider_status": stored_text(receipt.provider_status, 50),
        "error_class": receipt.error_class,
        "error_code": stored_text(receipt.error_code, 100),
        "error_message": stored_text(receipt.error_message, 500),
        "occurred_at": receipt.occurred_at,
        "received_at": waiting.received_at,
        "raw": waiting.raw,
    }
    if about:
        row |= {"message_id": about.message_id, "attempt_number": about.attempt_number}
    if cost := as_money(receipt.cost, receipt.currency):
        row |= {"cost": cost.amount, "currency": cost.currency}
    return row
