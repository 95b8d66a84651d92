"""The hot path's statements as SQL, the same for SQLite and PostgreSQL.

Measured per message (2 cores, PostgreSQL): bulk_update 600 us of client time, one
UPDATE from a derived table 11 us. Each takes all its rows as one JSON text, which is
the cheapest to write (an array per column cost 12 us per message to quote); how it
becomes a table, and the locks, are the only things in which the two databases differ.
The two queries of a claim took the ORM 1.3 ms to compile, each time anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from messaging.models import Campaign, CampaignMessage

# Column -> its PostgreSQL type.
Columns = Mapping[str, str]

# As `Campaign.objects.with_due_messages`, which says why it is no EXISTS.
DUE_LANES = """
SELECT c.* FROM messaging_campaign AS c
WHERE c.status = 1 AND (
    SELECT m.due_at FROM messaging_campaignmessage AS m
    WHERE m.campaign_id = c.id AND m.status = 0 AND m.due_at <= %s
    ORDER BY m.due_at, m.id LIMIT 1) IS NOT NULL
ORDER BY c.priority DESC, c.id
"""

# The messages `with_suppression`. LIMIT must stand at the top, and the UPDATE in a
# statement of its own: as a sub-select of the UPDATE this may be run once per row, and
# claim without limit (PostgreSQL bug 15715).
# See docs/decisions/0001-claim-in-two-statements.md.
LOCK_DUE = """
SELECT m.*, (SELECT s.id FROM messaging_suppression AS s
             WHERE s.address = m.recipient LIMIT 1) AS suppression_id
FROM messaging_campaignmessage AS m
WHERE m.campaign_id = %s AND m.status = 0 AND m.due_at <= %s
ORDER BY m.due_at, m.id LIMIT %s
"""

CLAIM_COLUMNS: Columns = {"id": "bigint", "provider": "text"}

CLAIM = """
UPDATE messaging_campaignmessage AS m
SET status = 1, provider = v.provider, attempt_count = m.attempt_count + 1,
    lease_owner = %s, lease_expires_at = %s, status_reason = ''
FROM {rows} WHERE m.id = v.id
"""

SETTLE_COLUMNS: Columns = {
    "message_id": "bigint",
    "attempt_number": "smallint",
    "next_status": "smallint",
    "status_reason": "text",
    "due_at": "timestamptz",
    "retry_count": "smallint",
    "next_attempt": "smallint",
    "next_provider": "text",
    "lease_owner": "bigint",
    "lease_expires_at": "timestamptz",
    "unknown_since": "timestamptz",
    "sent_at": "timestamptz",
    "finished_at": "timestamptz",
}

# The fence: only the owner of the lease may write, only for the attempt it holds, and
# only while nobody else has said what became of the message: a receipt may be faster.
SETTLE = """
UPDATE messaging_campaignmessage AS m
SET status = v.next_status, status_reason = v.status_reason,
    due_at = COALESCE(v.due_at, m.due_at), retry_count = v.retry_count,
    attempt_count = v.next_attempt, provider = v.next_provider,
    lease_owner = v.lease_owner, lease_expires_at = v.lease_expires_at,
    unknown_since = v.unknown_since, sent_at = v.sent_at, finished_at = v.finished_at
FROM {rows}
WHERE m.id = v.message_id AND m.attempt_count = v.attempt_number
    AND m.lease_owner = %s AND m.status = 1
RETURNING id, status
"""

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
    "decision": "jsonb",
    "is_retry": "boolean",
}

# An attempt is written once, however often its writing is tried again after a lost
# connection; one whose number recovery has already written is kept beside it, as late.
INSERT_ATTEMPTS = """
INSERT INTO routing_messagedeliveryattempt ({columns}, is_late)
SELECT {values}, EXISTS (
    SELECT 1 FROM routing_messagedeliveryattempt AS a
    WHERE a.message_id = v.message_id AND a.attempt_number = v.attempt_number)
FROM {rows}
WHERE NOT EXISTS (
    SELECT 1 FROM routing_messagedeliveryattempt AS a
    WHERE a.message_id = v.message_id AND a.attempt_number = v.attempt_number
        AND (a.is_late OR a.attempted_at = v.attempted_at))
RETURNING message_id, attempt_number, is_late, EXISTS (
    SELECT 1 FROM routing_deliveryreceipt AS r
    WHERE r.message_id = routing_messagedeliveryattempt.message_id
        AND r.cost IS NOT NULL)
"""

Row = Mapping[str, Any]


def due_lanes(now: datetime) -> list[Campaign]:
    """Running campaigns with work to do now, the most urgent first."""
    return list(Campaign.objects.raw(DUE_LANES, [_plain(now)]))


def lock_due(campaign: Campaign, limit: int, now: datetime) -> list[CampaignMessage]:
    """Lock due messages of one campaign, the longest due first."""
    is_postgres = connection.vendor == "postgresql"
    lock = "FOR UPDATE OF m SKIP LOCKED" if is_postgres else ""
    messages = list(
        CampaignMessage.objects.raw(
            f"{LOCK_DUE} {lock}", [campaign.pk, _plain(now), limit]
        )
    )
    for message in messages:
        message.campaign = campaign
    return messages


def mark_claimed(
    rows: Sequence[Row], *, owner: int, lease_expires_at: datetime
) -> None:
    """Move locked, queued rows to Sending with the provider that will be called."""
    source, parameters = _derived_table(CLAIM_COLUMNS, rows)
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM.format(rows=source),
            [owner, _plain(lease_expires_at), *parameters],
        )


def settle(rows: Sequence[Row], *, owner: int) -> dict[int, int]:
    """Write what came of claimed messages; returns {id: status} of those it could."""
    source, parameters = _derived_table(SETTLE_COLUMNS, rows)
    with connection.cursor() as cursor:
        cursor.execute(SETTLE.format(rows=source), [*parameters, owner])
        return dict(cursor.fetchall())


def insert_attempts(rows: Sequence[Row]) -> list[Row]:
    """Append attempts; returns those that were not there yet.

    Each with `is_late`, and with `is_cost_told`: whether a receipt of its message,
    which was faster, tells a cost.
    """
    source, parameters = _derived_table(ATTEMPT_COLUMNS, rows)
    names = list(ATTEMPT_COLUMNS)
    statement = INSERT_ATTEMPTS.format(
        columns=", ".join(names),
        values=", ".join(f"v.{name}" for name in names),
        rows=source,
    )
    given = {(row["message_id"], row["attempt_number"]): row for row in rows}
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [
            {
                **given[message_id, number],
                "is_late": bool(is_late),
                "is_cost_told": bool(is_cost_told),
            }
            for message_id, number, is_late, is_cost_told in cursor.fetchall()
        ]


def _derived_table(columns: Columns, rows: Sequence[Row]) -> tuple[str, list[str]]:
    """The rows as a table `v`, and its one parameter."""
    if connection.vendor == "postgresql":
        types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        source = f"json_to_recordset(%s::json) AS v ({types})"
    else:
        fields = ", ".join(f"value ->> '{name}' AS {name}" for name in columns)
        source = f"(SELECT {fields} FROM json_each(%s)) AS v"  # noqa: S608 - our names
    return source, [_as_json(rows)]


def _as_json(rows: Sequence[Row]) -> str:
    document = json.dumps(rows, default=_plain)
    # PostgreSQL refuses NUL in any text, and no database takes half a character; whole
    # ones beyond the first 65,536 are written as two halves, and do no harm here.
    if "\\u0000" in document or "\\ud" in document:
        document = json.dumps(_cleaned(rows), default=_plain)
    return document


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    return value


def _plain(value: Any) -> Any:
    """What JSON has no form for, as both databases take it."""
    if isinstance(value, datetime):
        # As Django writes it on SQLite, where text comparison must agree.
        text = value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
        return f"{text}+00" if connection.vendor == "postgresql" else text
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"A {type(value).__name__} has no form in a statement.")
