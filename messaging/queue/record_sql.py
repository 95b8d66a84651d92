"""The statements that write results, as SQL, for both databases.

Rows travel as one JSON parameter (`routing.sql_rows`): one code path where unnest()
would need another, and a statement whose text does not depend on how many rows there
are.
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
# only while nobody else has said what became of the message: a receipt may be faster.
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

# Of the decisions, which most of a batch share, each goes once: as JSON of every row
# they were the dearest part of all. An attempt is written once, however often its
# writing is tried again after a lost connection; one whose number recovery has already
# written is kept beside it, as late.
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
        AND r.cost IS NOT NULL) AS is_cost_told
"""
_DECISIONS = {
    "postgresql": "SELECT ordinality - 1 AS number, value::jsonb AS document "
    "FROM json_array_elements(%s::json) WITH ORDINALITY",
    "sqlite": "SELECT key AS number, value AS document FROM json_each(%s)",
}


# A batch in one go, where the database can: what a statement costs beside what it does
# is a sixth of that. And what went as usual needs no answer.
RECORD = """
WITH v AS MATERIALIZED (SELECT * FROM {rows}),
settled AS ({settle}), appended AS ({append}), counted AS ({count})
SELECT v.message_id, s.id IS NOT NULL, a.message_id IS NOT NULL,
    COALESCE(a.is_late, false), COALESCE(a.is_cost_told, false)
FROM v LEFT JOIN settled AS s ON s.id = v.message_id
LEFT JOIN appended AS a ON a.message_id = v.message_id
WHERE s.id IS NULL OR a.message_id IS NULL OR a.is_late OR a.is_cost_told
"""


class Written(NamedTuple):
    """What was written of a result; by default, what usually is.

    The message is settled where its lease was held. The attempt is appended unless it
    is on record, and is late if another result of it is. `is_cost_told`: a receipt,
    which was faster, tells a cost.
    """

    message_id: int
    is_settled: bool = True
    is_appended: bool = True
    is_late: bool = False
    is_cost_told: bool = False


def settle(rows: Sequence[Row], *, owner: int) -> set[int]:
    """Write what came of claimed messages; returns the ids of those it could.

    What a row does not name stays as it was, or is cleared.
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
    """Settle messages, append the attempts that were made of them, and keep what all
    of that usually counts for. Returns what was written of those that went otherwise.

    There is one row per message; its `decision` is its place in the decisions.
    """
    if connection.vendor != "postgresql":
        return _recorded_in_turn(rows, decisions, usual, owner)
    statement, counted = _recorded_at_once(), as_json(entries(usual))
    with prepared_cursor() as cursor:
        cursor.execute(statement, [as_json(rows), owner, as_json(decisions), counted])
        return [Written(*row) for row in cursor.fetchall()]


@cache
def _recorded_at_once() -> str:
    """For PostgreSQL."""
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
    save_counts(usual, is_prepared=True)
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
