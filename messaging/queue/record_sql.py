"""The SQL statements that write results, for both databases.

Rows are passed as one JSON parameter (`routing.sql_rows`). This needs one code path,
where unnest() would need two, and the text of a statement does not depend on the number
of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from django.db import connection

from messaging.transitions import CHANGE_COLUMNS, SET_CHANGED
from routing.rules.tally import TallySheet
from routing.sql_rows import Columns, Row, as_json, derived_table, prepared_cursor
from routing.statistics.entries import (
    ENTRY_COLUMNS,
    INSERT_ENTRIES,
    entries,
    save_counts,
)
from routing.vocabulary import MessageStatus

SETTLE_COLUMNS: Columns = {
    "message_id": "bigint",
    "attempt_number": "smallint",
    **CHANGE_COLUMNS,
}

# The fence: only the owner of the lease may write, only for the attempt it holds, and
# only while nothing else has settled the message: a receipt may be faster.
SETTLE = f"""
UPDATE messaging_campaignmessage AS m SET {SET_CHANGED}
FROM {{rows}}
WHERE m.id = v.message_id AND m.attempt_count = v.attempt_number
    AND m.lease_owner = %s AND m.status = {MessageStatus.SENDING:d}
RETURNING id
"""  # noqa: S608 - our own text

ATTEMPT_COLUMNS: Columns = {
    "message_id": "bigint",
    "attempt_number": "smallint",
    "channel": "smallint",
    "provider": "text",
    "attempted_at": "timestamptz",
    "outcome": "smallint",
    "external_message_id": "text",
    "error_class": "smallint",
    "error_code": "text",
    "error_message": "text",
    "cost": "numeric",
    "currency": "text",
    "response_time_ms": "integer",
    "fallback_reason": "smallint",
    "decision": "integer",
    "is_retry": "boolean",
}
_NEVER_NULL = {"external_message_id", "error_code", "error_message", "currency"}

# Most of a batch share a few decisions, so each is passed once: repeated as JSON on
# every row they were the largest cost of all. An attempt is stored once, even if it is
# written again after a lost connection. If recovery has already stored an attempt with
# the same number, this one is stored beside it, as late.
INSERT_ATTEMPTS = """
WITH decisions AS ({decisions})
INSERT INTO routing_messagedeliveryattempt ({columns}, is_late)
SELECT {values}, EXISTS (
    SELECT 1 FROM routing_messagedeliveryattempt AS a
    WHERE a.message_id = v.message_id AND a.attempt_number = v.attempt_number)
FROM {rows} JOIN decisions AS d ON d.number = v.decision
WHERE NOT EXISTS (
    SELECT 1 FROM routing_messagedeliveryattempt AS a
    WHERE a.message_id = v.message_id AND a.attempt_number = v.attempt_number
        AND (a.is_late OR a.attempted_at = v.attempted_at))
RETURNING message_id, is_late, EXISTS (
    SELECT 1 FROM routing_deliveryreceipt AS r
    WHERE r.message_id = routing_messagedeliveryattempt.message_id
        AND r.cost IS NOT NULL) AS has_receipt_cost
"""
_DECISIONS = {
    "postgresql": "SELECT ordinality - 1 AS number, value::jsonb AS document "
    "FROM json_array_elements(%s::json) WITH ORDINALITY",
    "sqlite": "SELECT key AS number, value AS document FROM json_each(%s)",
}


# A batch in one statement, if the database can: that cuts the overhead of statements to
# a sixth. Rows that went as usual are not returned.
RECORD = """
WITH v AS MATERIALIZED (SELECT * FROM {rows}),
settled AS ({settle}), appended AS ({append}), counted AS ({count})
SELECT v.message_id, s.id IS NOT NULL, a.message_id IS NOT NULL,
    COALESCE(a.is_late, false), COALESCE(a.has_receipt_cost, false)
FROM v LEFT JOIN settled AS s ON s.id = v.message_id
LEFT JOIN appended AS a ON a.message_id = v.message_id
WHERE s.id IS NULL OR a.message_id IS NULL OR a.is_late OR a.has_receipt_cost
"""


class Written(NamedTuple):
    """What was written for a result; the defaults are the usual case.

    The message is settled if its lease was held. The attempt is appended unless it is
    on record, and late if another result for it is. `has_receipt_cost`: an earlier
    receipt gave a cost.
    """

    message_id: int
    is_settled: bool = True
    is_appended: bool = True
    is_late: bool = False
    has_receipt_cost: bool = False


def settle(rows: Sequence[Row], *, owner: int) -> set[int]:
    """Settle claimed messages; returns the ids of those whose lease was held.

    Columns that a row does not name are kept or cleared.
    """
    statement = SETTLE.format(rows=derived_table(SETTLE_COLUMNS))
    with prepared_cursor() as cursor:
        cursor.execute(statement, [as_json(rows), owner])
        return {pk for (pk,) in cursor.fetchall()}


def record(
    rows: Sequence[Row],
    *,
    decisions: Sequence[Row],
    usual: TallySheet,
    owner: int,
) -> list[Written]:
    """Settle messages, append their attempts, and save the `usual` counts. Returns the
    writes that did not go as usual.

    There is one row per message; its `decision` is an index into the decisions.
    """
    if connection.vendor != "postgresql":
        return _recorded_in_turn(rows, decisions, usual, owner)
    statement, counted = _recorded_at_once(), as_json(entries(usual))
    with prepared_cursor() as cursor:
        cursor.execute(statement, [as_json(rows), owner, as_json(decisions), counted])
        return [Written(*row) for row in cursor.fetchall()]


@cache
def _recorded_at_once() -> str:
    """The statement for PostgreSQL."""
    return RECORD.format(
        rows=derived_table({**SETTLE_COLUMNS, **ATTEMPT_COLUMNS}),
        settle=SETTLE.format(rows="v"),
        append=_append_to("v"),
        count=INSERT_ENTRIES.format(rows=derived_table(ENTRY_COLUMNS)),
    )


def _recorded_in_turn(
    rows: Sequence[Row], decisions: Sequence[Row], usual: TallySheet, owner: int
) -> list[Written]:
    settled = settle(rows, owner=owner)
    statement = _append_to(derived_table(ATTEMPT_COLUMNS))
    with prepared_cursor() as cursor:
        cursor.execute(statement, [as_json(decisions), as_json(rows)])
        appended = {pk: map(bool, about) for pk, *about in cursor.fetchall()}
    save_counts(usual)
    written = [
        Written(pk, pk in settled, pk in appended, *appended.get(pk, ()))
        for pk in (row["message_id"] for row in rows)
    ]
    return [each for each in written if each != Written(each.message_id)]


def _append_to(rows: str) -> str:
    return INSERT_ATTEMPTS.format(
        decisions=_DECISIONS[connection.vendor],
        columns=", ".join(ATTEMPT_COLUMNS),
        values=", ".join(map(_value, ATTEMPT_COLUMNS)),
        rows=rows,
    )


def _value(column: str) -> str:
    if column == "decision":
        return "d.document"
    return f"COALESCE(v.{column}, '')" if column in _NEVER_NULL else f"v.{column}"
