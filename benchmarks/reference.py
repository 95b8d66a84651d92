"""The bare loop that we are measured against: no Django, no decisions, no guarantees.

A sliding window in asyncio over aiohttp, and two SQL statements with psycopg: what this
machine can do if a message is just a row and a POST.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlencode

import aiohttp
import psycopg

BATCH = 50
RECORD_EVERY = 0.05  # seconds

CLAIM = """
WITH c AS MATERIALIZED (
    SELECT id FROM messaging_campaignmessage
    WHERE campaign_id = %s AND status = 0 AND due_at <= now()
    ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE messaging_campaignmessage AS m
SET status = 1, attempt_count = m.attempt_count + 1, lease_owner = 1,
    provider = 'TwilioSMS', lease_expires_at = now() + interval '90 seconds'
FROM c WHERE m.id = c.id RETURNING m.id, m.recipient
"""
RECORD = """
WITH v AS (
    SELECT * FROM unnest(%s::bigint[], %s::text[]) AS v (id, external_id)),
settled AS (
    UPDATE messaging_campaignmessage AS m
    SET status = 2, lease_owner = NULL, lease_expires_at = NULL, sent_at = now()
    FROM v WHERE m.id = v.id AND m.lease_owner = 1)
INSERT INTO routing_messagedeliveryattempt (message_id, attempt_number, channel,
    provider, attempted_at, outcome, external_message_id, error_code, error_message,
    currency, response_time_ms, decision, is_late, is_retry)
SELECT id, 1, 0, 'TwilioSMS', now(), 1, external_id, '', '', '', 100, '{}', false, false
FROM v
"""


def claim_and_record(url: str, campaign_id: int) -> int:
    """Drain the campaign without sending; returns how many messages it had."""
    done = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while ids := connection.execute(CLAIM, [campaign_id, BATCH]).fetchall():
            externals = [f"SM{32 * '0'}{id_}" for id_, _ in ids]
            connection.execute(RECORD, [[id_ for id_, _ in ids], externals])
            done += len(ids)
    return done


def send(url: str, campaign_id: int, *, port: int, window: int) -> float:
    """Send the campaign; returns the seconds it took."""
    started = time.monotonic()
    asyncio.run(_send(url, campaign_id, port, window))
    return time.monotonic() - started


async def _send(url: str, campaign_id: int, port: int, window: int) -> None:
    done: list[tuple[int, str]] = []
    flying: set[asyncio.Task[None]] = set()
    target = f"http://127.0.0.1:{port}/2010-04-01/Accounts/AC0/Messages.json"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=window)
    ) as session:

        async def post(id_: int, recipient: str) -> None:
            body = urlencode({"To": recipient, "From": "+15005550006", "Body": "Hello"})
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            async with session.post(target, data=body, headers=headers) as answer:
                done.append((id_, (await answer.json())["sid"]))

        with psycopg.connect(url, autocommit=True) as connection:
            recorded_at, is_empty = time.monotonic(), False
            while not is_empty or flying or done:
                now = time.monotonic()
                if len(done) >= BATCH or (done and now - recorded_at > RECORD_EVERY):
                    connection.execute(RECORD, list(map(list, zip(*done, strict=True))))
                    done.clear()
                    recorded_at = now
                if not is_empty and window - len(flying) >= BATCH:
                    rows = connection.execute(CLAIM, [campaign_id, BATCH]).fetchall()
                    is_empty = not rows
                    for row in rows:
                        task = asyncio.create_task(post(*row))
                        flying.add(task)
                        task.add_done_callback(flying.discard)
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(0.002)
