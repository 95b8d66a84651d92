"""The SQL statements of a claim, for both databases.

Rows are passed as one JSON parameter (`routing.sql_rows`). There are few statements,
and their text never varies, so that PostgreSQL plans each once per connection.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.backends.utils import CursorWrapper

from messaging.models import Campaign
from messaging.queue.claimed import DueMessage
from messaging.transitions import SET_CLAIMED
from messaging.vocabulary import CampaignStatus
from routing.sql_rows import (
    Columns,
    Row,
    as_json,
    as_text,
    derived_table,
    prepared_cursor,
)
from routing.vocabulary import MessageStatus


class Place(NamedTuple):
    """A place in a lane: a due time, in the database's own format, and an id."""

    due_at: str
    message_id: int


class Share(NamedTuple):
    """How many of a campaign's due messages to lock, and after which place."""

    campaign: Campaign
    after: Place
    size: int


_IS_RUNNING = f"c.status = {CampaignStatus.RUNNING:d}"

_IS_DUE = f"m.status = {MessageStatus.QUEUED:d} AND m.due_at <= %s"

_NEXT_DUE = "(m.due_at, m.id) > ({after}) ORDER BY m.due_at, m.id LIMIT"

SHARE_COLUMNS: Columns = {
    "campaign_id": "bigint",
    "due_at": "timestamptz",
    "id": "bigint",
    "size": "integer",
}

# As `with_due_messages` (`_first_due` there says why this is not an EXISTS), except
# that lanes known to have due messages are not checked, and that bodies already in
# memory are not read again: an e-mail's may have 262,144 characters, and this runs 20
# times a second. The ORM would take longer to build the query than this takes to run.
DUE_LANES = f"""
SELECT {{columns}}, CASE WHEN c.id IN ({{read}}) THEN '' ELSE c.body END AS body
FROM messaging_campaign AS c
WHERE {_IS_RUNNING} AND (c.id IN ({{known}}) OR (
    SELECT m.due_at FROM messaging_campaignmessage AS m
    WHERE m.campaign_id = c.id AND {_IS_DUE} ORDER BY m.due_at, m.id LIMIT 1
    ) IS NOT NULL)
ORDER BY c.priority DESC, c.id
"""  # noqa: S608 - our own text

_LANE_COLUMNS = ", ".join(
    f"c.{field.column}"
    for field in Campaign._meta.concrete_fields
    if field.name != "body"
)

# The columns of `DueMessage`, and the messages `with_suppression`.
_DUE_COLUMNS = """
    m.id, CAST(m.due_at AS text), m.recipient, m.country, m.subject, m.body,
    m.media_urls, m.segments, m.expires_at, m.provider, m.attempt_count, m.retry_count,
    (SELECT s.id FROM messaging_suppression AS s
     WHERE s.address = m.recipient AND (s.scope = 0 OR c.kind = 0) LIMIT 1)
"""

# One query for all lanes, each read by its index. The UPDATE must be a statement of its
# own: with this query as a sub-select, PostgreSQL may run it once per row and claim
# without limit (bug 15715). See docs/decisions/0001-claim-in-two-statements.md.
LOCK_DUE = f"""
SELECT c.id, {_DUE_COLUMNS}
FROM {{shares}} JOIN messaging_campaign AS c ON c.id = v.campaign_id AND {_IS_RUNNING}
CROSS JOIN LATERAL (
    SELECT m.* FROM messaging_campaignmessage AS m WHERE m.campaign_id = c.id
    AND {_IS_DUE} AND {_NEXT_DUE.format(after="v.due_at, v.id")} v.size
    FOR UPDATE SKIP LOCKED) AS m
"""  # noqa: S608 - our own text

LOCK_DUE_OF_ONE = f"""
SELECT c.id, {_DUE_COLUMNS}
FROM messaging_campaign AS c JOIN messaging_campaignmessage AS m ON m.campaign_id = c.id
WHERE c.id = %s AND {_IS_RUNNING}
    AND {_IS_DUE} AND {_NEXT_DUE.format(after="%s, %s")} %s
"""  # noqa: S608 - our own text

CLAIM_COLUMNS: Columns = {"id": "bigint", "provider": "text", "call_id": "bigint"}

CLAIM = f"""
UPDATE messaging_campaignmessage AS m SET {SET_CLAIMED}
FROM {{rows}} WHERE m.id = v.id
"""  # noqa: S608 - our own text


def due_lanes(
    now: datetime, *, known: Collection[int], bodies: Mapping[int, str]
) -> list[Campaign]:
    """Running campaigns with work to do now, the most urgent first.

    Campaigns `known` to have due messages are only checked to be still running.
    `bodies` are texts already in memory: a running campaign's text never changes.
    """
    statement = DUE_LANES.format(
        columns=_LANE_COLUMNS,
        read=_places_for(bodies),
        known=_places_for(known),
    )
    parameters = [*bodies, *known, as_text(now)]
    campaigns = list(Campaign.objects.raw(statement, parameters))
    for campaign in campaigns:
        campaign.body = bodies.get(campaign.pk, campaign.body)
    return campaigns


def _places_for(ids: Collection[int]) -> str:
    return ", ".join(["%s"] * len(ids)) or "NULL"


def lock_due(shares: Sequence[Share], now: datetime) -> list[DueMessage]:
    """Lock due messages of running campaigns, in each lane the longest due first.

    Rows locked by another worker are skipped, so that there may be fewer.
    """
    campaigns = {share.campaign.pk: share.campaign for share in shares}
    with prepared_cursor() as cursor:
        if connection.vendor == "postgresql":
            rows = _locked_at_once(cursor, shares, now)
        else:
            rows = _locked_in_turn(cursor, shares, now)
    return [_due_message(campaigns[pk], row) for pk, *row in rows]


def _locked_at_once(
    cursor: CursorWrapper, shares: Sequence[Share], now: datetime
) -> list[tuple[Any, ...]]:
    wanted = [
        {
            "campaign_id": campaign.pk,
            "due_at": after.due_at,
            "id": after.message_id,
            "size": size,
        }
        for campaign, after, size in shares
    ]
    statement = LOCK_DUE.format(shares=derived_table(SHARE_COLUMNS))
    cursor.execute(statement, [as_json(wanted), as_text(now)])
    return list(cursor.fetchall())


def _locked_in_turn(
    cursor: CursorWrapper, shares: Sequence[Share], now: datetime
) -> list[tuple[Any, ...]]:
    """One query per lane: SQLite has no lateral joins, and its queries are cheap."""
    rows: list[tuple[Any, ...]] = []
    for campaign, after, size in shares:
        cursor.execute(LOCK_DUE_OF_ONE, [campaign.pk, as_text(now), *after, size])
        rows += cursor.fetchall()
    return rows


def _due_message(campaign: Campaign, row: Sequence[Any]) -> DueMessage:
    message = DueMessage(campaign, *row)
    if (expires_at := message.expires_at) and expires_at.tzinfo is None:
        # SQLite stores no time zones: all times are UTC.
        message = message._replace(expires_at=expires_at.replace(tzinfo=UTC))
    if isinstance(message.media_urls, str):
        message = message._replace(media_urls=json.loads(message.media_urls))
    return message


def mark_claimed(
    rows: Sequence[Row], *, owner: int, lease_expires_at: datetime
) -> None:
    """Move locked, queued rows to Sending with the provider that will be called."""
    statement = CLAIM.format(rows=derived_table(CLAIM_COLUMNS))
    with prepared_cursor() as cursor:
        cursor.execute(statement, [owner, as_text(lease_expires_at), as_json(rows)])
