"""What intake is measured against: verify a signature, insert a row, answer.

A WSGI application under the same gunicorn worker, with psycopg and nothing else: no
Django, no reading of what the receipt says, no errors that anybody could understand.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import psycopg
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

_INSERT = """
INSERT INTO routing_waitingreceipt
    (provider, event_id, receipt, raw, received_at, problem)
VALUES {rows} ON CONFLICT (provider, event_id) DO NOTHING
"""
_ROW = "(%s, %s, %s, %s, %s, '')"
Rows = list[tuple[str, str, str]]  # event, receipt and what came
Reader = Callable[[Mapping[str, Any], bytes], Rows | None]
_URL = os.environ["PUBLIC_URL"]
_TWILIO_TOKEN = os.environ["TWILIO_AUTH_TOKEN"].encode()
_VONAGE_SECRET = os.environ["VONAGE_SIGNATURE_SECRET"].encode()
_SENDGRID_KEY = load_der_public_key(
    base64.b64decode(os.environ["SENDGRID_WEBHOOK_VERIFICATION_KEY"])
)
_own = threading.local()


def application(
    environ: Mapping[str, Any], start: Callable[..., object]
) -> Iterable[bytes]:
    """204 for what is signed, and 403 for what is not."""
    provider = environ["PATH_INFO"].split("/")[2:3]
    if not provider:
        start("404 Not Found", [])
        return []
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    rows = _READERS[provider[0]](environ, body)
    if rows is None:
        start("403 Forbidden", [])
        return []
    insert(_connection(), provider[0], rows)
    start("204 No Content", [])
    return []


def insert(connection: psycopg.Connection[Any], provider: str, rows: Rows) -> None:
    """In one statement, which psycopg prepares when it comes again."""
    statement = _INSERT.format(rows=", ".join([_ROW] * len(rows)))
    now = datetime.now(UTC)
    values = [value for row in rows for value in (provider, *row, now)]
    connection.execute(statement, values)


def _connection() -> psycopg.Connection[Any]:
    """One for each thread."""
    if not hasattr(_own, "connection"):
        url = os.environ["DATABASE_URL"]
        _own.connection = psycopg.connect(url, autocommit=True)
    connection: psycopg.Connection[Any] = _own.connection
    return connection


def _of_twilio(environ: Mapping[str, Any], body: bytes) -> Rows | None:
    fields = dict(parse_qsl(body.decode()))
    url = f"{_URL}{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.digest(_TWILIO_TOKEN, signed.encode(), hashlib.sha1)
    expected = base64.b64encode(digest).decode()
    if not hmac.compare_digest(expected, environ["HTTP_X_TWILIO_SIGNATURE"]):
        return None
    event = f"{fields['MessageSid']}:{fields['MessageStatus']}"
    return [(event, json.dumps(fields), body.decode())]


def _of_vonage(environ: Mapping[str, Any], body: bytes) -> Rows | None:
    fields = dict(parse_qsl(body.decode()))
    given = fields.pop("sig").lower()
    signed = "".join(f"&{name}={fields[name]}" for name in sorted(fields))
    expected = hmac.digest(_VONAGE_SECRET, signed.encode(), hashlib.sha256).hex()
    if not hmac.compare_digest(expected, given):
        return None
    event = f"{fields['messageId']}:{fields['status']}"
    return [(event, json.dumps(fields), body.decode())]


def _of_sendgrid(environ: Mapping[str, Any], body: bytes) -> Rows | None:
    """Raises InvalidSignature, which gunicorn makes a 500 of."""
    signature = base64.b64decode(environ["HTTP_X_TWILIO_EMAIL_EVENT_WEBHOOK_SIGNATURE"])
    signed = environ["HTTP_X_TWILIO_EMAIL_EVENT_WEBHOOK_TIMESTAMP"].encode() + body
    assert isinstance(_SENDGRID_KEY, ec.EllipticCurvePublicKey)
    _SENDGRID_KEY.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    said = [(each["sg_event_id"], json.dumps(each)) for each in json.loads(body)]
    return [(event, document, document) for event, document in said]


_READERS: dict[str, Reader] = {
    "TwilioSMS": _of_twilio,
    "VonageSMS": _of_vonage,
    "SendGridEmail": _of_sendgrid,
}
