"""The Vonage Messages API's codes, media, statuses and signatures."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import jwt
import pytest
from django.conf import settings as django_settings

from routing.providers.base import (
    ForgedReceipt,
    MalformedReceipt,
    OutcomeUnknown,
    RecipientError,
    UnmappedError,
    UnsuitableError,
    WebhookRequest,
)
from routing.providers.error_codes import STATUSES as HTTP_STATUSES
from routing.providers.vonage_messages import CODES, RECEIPT_CODES, VonageMMS
from routing.simulators import vonage_messages as simulated
from routing.simulators.credentials import VONAGE_SIGNATURE_SECRET as SECRET
from routing.tests.providers.samples import build, message_for
from routing.tests.providers.scripted_server import ScriptedServer, answer, say
from routing.vocabulary import MessageStatus

SPECS = Path(
    os.environ.get("PROVIDER_SPECS_DIR", django_settings.BASE_DIR / "../shared/specs")
)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
URL = "https://example.com/webhooks/VonageMMS/"
TAKEN = answer("202 Accepted", b'{"message_uuid": "u1"}')


def provider(**options) -> VonageMMS:
    reader = VonageMMS("VonageMMS", {"SIGNATURE_SECRET": SECRET, **options})
    reader.clock = lambda: NOW
    return reader


def status_call(*, now: datetime = NOW, **fields) -> WebhookRequest:
    values = {"message_uuid": "u1", "status": "delivered", "client_ref": "m12a3"}
    body = json.dumps(values | fields).encode()
    token = simulated.sign(body, now)
    return WebhookRequest(URL, {"Authorization": f"Bearer {token}"}, body)


def call_with_claims(*, secret: str = SECRET, algorithm: str = "HS256", **claims):
    body = status_call().body
    claims = {
        "iat": int(NOW.timestamp()),
        "payload_hash": hashlib.sha256(body).hexdigest(),
    } | claims
    kept = {key: value for key, value in claims.items() if value is not None}
    token = jwt.encode(kept, secret, algorithm=algorithm)
    return WebhookRequest(URL, {"Authorization": f"Bearer {token}"}, body)


def test_a_code_is_what_the_table_says(simulator, subtests):
    sender = build("VonageMMS")
    for code, make in CODES.items():
        fault = {"code": code, "status": 422, "message": "Because"}
        simulator.set_fault("VonageMMS", "error", **fault)
        kind = type(make(""))
        with subtests.test(code=code):
            with pytest.raises(kind, match="Because") as caught:
                sender.send(message_for(sender))

            assert (type(caught.value), caught.value.code) == (kind, code)
            assert getattr(caught.value, "opted_out", False) == (code == "1240")
    sender.close()


@pytest.mark.parametrize("code", ["unauthorized", "low-balance", "1000"])
def test_code_and_status_agree(simulator, code):
    simulator.set_fault("VonageMMS", "error", code=code)
    sender = build("VonageMMS")

    with pytest.raises(type(CODES[code](""))):
        sender.send(message_for(sender))

    sender.close()
    assert {"401", "402", "429"} <= set(HTTP_STATUSES)


def test_every_code_of_vonages_document_is_in_the_table():
    path = SPECS / "vonage_messages.prism.json"
    if not path.exists():
        pytest.skip(f"{path} is not there; set PROVIDER_SPECS_DIR")

    listed = json.loads(path.read_text())["x-errors"]

    assert set(listed) <= set(CODES), "Read what Vonage says of these, and map them."


def test_a_code_that_the_table_lacks_is_shown(simulator):
    simulator.set_fault("VonageMMS", "error", code="9999", status=422)
    sender = build("VonageMMS")

    with pytest.raises(UnmappedError) as caught:
        sender.send(message_for(sender))

    sender.close()
    assert caught.value.code == "9999"


def test_a_number_that_is_none_is_the_recipients_fault(simulator):
    sender = build("VonageMMS")

    with pytest.raises(RecipientError):
        sender.send(message_for(sender, recipient="+0"))
    sender.close()


def test_the_request_is_what_vonage_documents(simulator):
    body = b'{"message_uuid": "u1"}'
    with ScriptedServer(say(answer("202 Accepted", body))) as server:
        sender = build("VonageMMS", BASE_URL=server.url, RECEIPT_URL=URL)
        acceptance = sender.send(message_for(sender))
        sender.close()

    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic " in head  # no token signed for each message
    assert json.loads(sent) == {
        "channel": "mms",
        "message_type": "image",
        "from": "15005550007",
        "to": "15551234567",
        "image": {"url": "https://example.com/a.jpg", "caption": "Hello, Ada"},
        "client_ref": "m12a3",
        "webhook_url": URL,
        "webhook_version": "v1",
    }
    assert acceptance.external_message_id == "u1"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"message_uuid": [1]}', b"{}"])
def test_a_success_without_an_id_leaves_the_outcome_unknown(simulator, body):
    with ScriptedServer(say(answer("202 Accepted", body))) as server:
        sender = build("VonageMMS", BASE_URL=server.url)
        with pytest.raises(OutcomeUnknown):
            sender.send(message_for(sender))
        sender.close()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://e.com/a.JPEG", "image"),
        ("https://e.com/a.gif?signed=1&x=.mp3", "image"),
        ("https://e.com/a.mp3", "audio"),
        ("https://e.com/a.mp4#t=1", "video"),
    ],
)
def test_the_type_of_the_media_is_told_by_the_suffix(url, kind):
    document = provider(FROM="1")._document(message_for(provider(), media_urls=[url]))

    assert (document["message_type"], document[kind]["url"]) == (kind, url)


def test_a_vcard_goes_without_text():
    message = message_for(provider(), media_urls=["https://e.com/a.vcf"], body="")

    assert provider(FROM="1")._document(message)["vcard"] == {
        "url": "https://e.com/a.vcf"
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"media_urls": ["https://e.com/a.jpg", "https://e.com/b.jpg"]},
        {"media_urls": []},
        {"media_urls": ["https://e.com/a.exe"]},
        {"media_urls": ["https://e.com/jpg"]},
        {"media_urls": ["https://e.com/a.vcf"]},
        {"body": "x" * 2001},
    ],
    ids=["two", "none", "unknown suffix", "no suffix", "vCard with text", "long text"],
)
def test_what_vonage_cannot_carry_is_refused_and_not_dropped(fields):
    message = message_for(provider(), **fields)

    with pytest.raises(UnsuitableError) as caught:
        provider(FROM="1")._document(message)

    assert provider().cannot_carry(message) == str(caught.value)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("submitted", MessageStatus.SENT),
        ("delivered", MessageStatus.DELIVERED),
        ("read", MessageStatus.DELIVERED),
        ("rejected", MessageStatus.FAILED),
        ("undeliverable", MessageStatus.BOUNCED),
        ("a-new-word", None),
    ],
)
def test_a_status_is_translated(word, status):
    call = status_call(
        status=word,
        timestamp="2026-11-24T11:59:58.500Z",
        usage={"price": "0.0215", "currency": "EUR"},
    )

    [receipt] = provider().read_receipts(call)

    assert (receipt.status, receipt.provider_status) == (status, word)
    assert (receipt.event_id, receipt.reference) == (f"u1:{word}", "m12a3")
    assert receipt.occurred_at == NOW - timedelta(seconds=1.5)
    assert (receipt.cost, receipt.currency) == (Decimal("0.0215"), "EUR")


def test_the_code_of_a_status_is_classified(subtests):
    for code, make in RECEIPT_CODES.items():
        error = {"title": int(code), "detail": "Because"}
        call = status_call(status="rejected", error=error)
        with subtests.test(code=code):
            [receipt] = provider().read_receipts(call)

            assert (receipt.error_code, receipt.error_message) == (code, "Because")
            assert receipt.error_class == make("").error_class
            assert receipt.opted_out == (code == "1240")


def test_a_time_without_a_zone_is_utc_and_none_is_none():
    times = ["2026-11-24T12:00:00", "yesterday", None, "0001-01-01T00:00:00+14:00"]

    receipts = [provider().read_receipts(status_call(timestamp=t))[0] for t in times]

    assert [receipt.occurred_at for receipt in receipts] == [NOW, None, None, None]


@pytest.mark.parametrize(
    ("reader", "call"),
    [
        (provider(), WebhookRequest(URL, {}, status_call().body)),
        (provider(), WebhookRequest(URL, status_call().headers, b"{}")),
        (provider(), call_with_claims(secret="x" * 40)),
        (
            provider(SIGNATURE_SECRET="x" * 64),
            call_with_claims(secret="x" * 64, algorithm="HS512"),
        ),
        (provider(), call_with_claims(secret="", algorithm="none")),
        (provider(), call_with_claims(iat=None)),
        (provider(), call_with_claims(payload_hash=None)),
        (provider(), call_with_claims(payload_hash=["x"])),
        (provider(), call_with_claims(iat="soon")),
        (provider(), call_with_claims(iat=1e300)),
        (provider(SIGNATURE_SECRET=""), status_call()),
        (provider(), status_call(now=NOW - timedelta(minutes=6))),
        (provider(), status_call(now=NOW + timedelta(minutes=6))),
    ],
    ids=[
        "unsigned",
        "altered",
        "forged",
        "other algorithm",
        "no algorithm",
        "no time",
        "no hash",
        "hash of another type",
        "time of another type",
        "time out of range",
        "no secret",
        "stale",
        "future",
    ],
)
def test_a_forged_status_is_refused(reader, call):
    with pytest.raises(ForgedReceipt):
        reader.read_receipts(call)


@pytest.mark.parametrize("fields", [{"message_uuid": None}, {"status": ["x"]}])
def test_a_status_without_its_fields_is_malformed(fields):
    with pytest.raises(MalformedReceipt):
        provider().read_receipts(status_call(**fields))
