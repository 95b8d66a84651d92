"""The Vonage SMS API's codes, parts, receipts and signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest
from django.conf import settings as django_settings

from routing.providers.base import (
    ForgedReceipt,
    MalformedReceipt,
    OutcomeUnknown,
    PartlyTaken,
    RecipientError,
    UnmappedError,
    WebhookRequest,
)
from routing.providers.vonage_sms import CODES, RECEIPT_CODES, VonageSMS
from routing.simulators import vonage_sms as simulated
from routing.simulators.credentials import VONAGE_SIGNATURE_SECRET
from routing.tests.providers.samples import build, message_for
from routing.tests.providers.scripted_server import ScriptedServer, answer, say
from routing.vocabulary import ErrorClass, MessageStatus

SPECS = Path(
    os.environ.get("PROVIDER_SPECS_DIR", django_settings.BASE_DIR / "../shared/specs")
)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
URL = "https://example.com/webhooks/VonageSMS/"
TAKEN = answer("200 OK", b'{"messages": [{"status": "0", "message-id": "1"}]}')


def provider(**options) -> VonageSMS:
    reader = VonageSMS(
        "VonageSMS", {"SIGNATURE_SECRET": VONAGE_SIGNATURE_SECRET, **options}
    )
    reader.clock = lambda: NOW
    return reader


def fields_of(**fields: str) -> dict[str, str]:
    return {
        "msisdn": "15551234567",
        "messageId": "0A",
        "status": "delivered",
        "err-code": "0",
        "client-ref": "m12a3",
        "price": "0.0333",
        "timestamp": str(int(NOW.timestamp())),
        "nonce": "a&b=c",
    } | fields


def receipt_call(**fields: str) -> WebhookRequest:
    signed = fields_of(**fields)
    signed["sig"] = simulated.sign(signed)
    return WebhookRequest(URL, {}, urlencode(signed).encode())


def send_to(reply: dict, **fields):
    with ScriptedServer(say(answer("200 OK", json.dumps(reply).encode()))) as server:
        sender = build("VonageSMS", BASE_URL=server.url)
        try:
            return sender.send(message_for(sender, **fields)), server
        finally:
            sender.close()


def part(status: str = "0", **fields: str) -> dict[str, str]:
    return {"status": status, "message-id": "0A", "message-price": "0.03"} | fields


def test_a_status_is_what_the_table_says(simulator, subtests):
    sender = build("VonageSMS")
    for code, make in CODES.items():
        simulator.set_fault("VonageSMS", "error", code=code)
        kind = type(make(""))
        with subtests.test(code=code):
            with pytest.raises(kind) as caught:
                sender.send(message_for(sender))

            assert (type(caught.value), caught.value.code) == (kind, code)
    sender.close()


def test_every_code_of_vonages_document_is_in_the_table():
    path = SPECS / "vonage_sms.prism.json"
    if not path.exists():
        pytest.skip(f"{path} is not there; set PROVIDER_SPECS_DIR")

    listed = json.loads(path.read_text())["x-errors"]

    assert set(listed) <= set(CODES), "Read what Vonage says of these, and map them."


def test_a_status_that_the_table_lacks_is_shown(simulator):
    simulator.set_fault("VonageSMS", "error", code="77", message="New")
    sender = build("VonageSMS")

    with pytest.raises(UnmappedError, match="New"):
        sender.send(message_for(sender))
    sender.close()


def test_a_status_within_an_http_error_counts(simulator):
    simulator.set_fault("VonageSMS", "error", code="33", status=422)
    sender = build("VonageSMS")

    with pytest.raises(RecipientError):
        sender.send(message_for(sender))
    sender.close()


def test_the_request_is_what_vonage_documents(simulator):
    _, server = send_to({"message-count": "1", "messages": [part()]})

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    fields = parse_qs(body.decode())
    assert head.startswith(b"POST /sms/json HTTP/1.1\r\n")
    assert fields.pop("callback")[0].endswith("/webhooks/VonageSMS/")
    assert fields == {
        "from": ["15005550007"],
        "to": ["15551234567"],
        "text": ["Hello, Ada"],
        "type": ["text"],
        "client-ref": ["m12a3"],
    }


@pytest.mark.parametrize(("text", "kind"), [("€ [x]", b"text"), ("Привет", b"unicode")])
def test_unicode_is_asked_for_when_it_is_needed(simulator, text, kind):
    _, server = send_to({"message-count": "1", "messages": [part()]}, body=text)

    assert b"type=" + kind in server.requests[0]


def test_the_price_is_that_of_all_parts(simulator):
    parts = [part(), part(**{"message-id": "0B", "message-price": "0.04"})]

    acceptance, _ = send_to({"message-count": "2", "messages": parts})

    assert acceptance.external_message_id == "0A"
    assert acceptance.parts == 2
    assert (acceptance.segments, acceptance.cost) == (2, Decimal("0.07"))
    assert acceptance.currency == "EUR"


@pytest.mark.parametrize("price", ["", "NaN", "Infinity", "free", None])
def test_a_price_that_is_none_is_unknown(simulator, price):
    parts = [part(), part(**{"message-price": price})]

    acceptance, _ = send_to({"message-count": "2", "messages": parts})

    assert (acceptance.cost, acceptance.currency) == (None, "")


@pytest.mark.parametrize("parts", [["0", "9"], ["9", "0"], ["9", "0", "1"]], ids=str)
def test_refused_parts_beside_accepted_ones_make_no_message(simulator, parts):
    with pytest.raises(PartlyTaken) as caught:
        send_to({"message-count": f"{len(parts)}", "messages": list(map(part, parts))})

    assert caught.value.code == "9"
    assert f"1 of {len(parts)} parts" in str(caught.value)


def test_parts_that_are_all_refused_are_a_refusal(simulator):
    with pytest.raises(RecipientError):
        send_to({"message-count": "2", "messages": [part("7"), part("7")]})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "none"},
        {"messages": [7]},
        {"messages": [{"status": None}]},
        {"messages": [{"status": "0"}]},
    ],
)
def test_a_success_without_an_id_leaves_the_outcome_unknown(simulator, body):
    with pytest.raises(OutcomeUnknown):
        send_to(body)


@pytest.mark.parametrize(
    ("word", "code", "status"),
    [
        ("delivered", "0", MessageStatus.DELIVERED),
        ("accepted", "0", MessageStatus.SENT),
        ("buffered", "0", None),
        ("unknown", "1", None),
        ("a-new-word", "0", None),
        ("expired", "2", MessageStatus.BOUNCED),
        ("rejected", "6", MessageStatus.FAILED),
        ("failed", "8", MessageStatus.FAILED),
        ("failed", "3", MessageStatus.BOUNCED),
    ],
)
def test_a_receipt_is_translated(word, code, status):
    [receipt] = provider().read_receipts(
        receipt_call(status=word, **{"err-code": code})
    )

    assert (receipt.status, receipt.provider_status) == (status, word)
    assert (receipt.reference, receipt.external_message_id) == ("m12a3", "0A")
    assert (receipt.event_id, receipt.occurred_at) == (f"0A:{word}", NOW)
    assert receipt.cost is None


def test_the_code_of_a_receipt_is_classified(subtests):
    for code, make in RECEIPT_CODES.items():
        call = receipt_call(status="failed", **{"err-code": code})
        with subtests.test(code=code):
            [receipt] = provider().read_receipts(call)

            assert receipt.error_code == code
            assert receipt.error_class == make("").error_class
            assert receipt.opted_out == (code == "9")


def test_a_code_that_the_receipts_table_lacks_is_unmapped():
    [receipt] = provider().read_receipts(
        receipt_call(status="failed", **{"err-code": "77"})
    )

    assert (receipt.error_class, receipt.status) == (
        ErrorClass.UNMAPPED,
        MessageStatus.FAILED,
    )


def test_a_receipt_may_come_as_json_or_in_a_query():
    signed = fields_of()
    signed["sig"] = simulated.sign(signed)
    as_json = WebhookRequest(URL, {}, json.dumps(signed).encode())
    as_query = WebhookRequest(f"{URL}?{urlencode(signed)}", {}, b"")

    assert provider().read_receipts(as_json) == provider().read_receipts(as_query)


def test_no_field_hides_in_the_name_of_another():
    """Without its status, a receipt would look like a text from a handset."""
    signed = fields_of()
    signature = simulated.sign(signed)
    price, status = signed.pop("price"), signed.pop("status")
    moved = signed | {f"price={price}&status": status, "sig": signature}
    call = WebhookRequest(URL, {}, json.dumps(moved).encode())

    with pytest.raises(ForgedReceipt, match="name of a field"):
        provider().read_inbound(call)


@pytest.mark.parametrize("method", ["md5", "sha1", "sha256", "sha512"])
def test_each_method_of_signing_is_checked(method):
    signed = {"messageId": "0A", "status": "delivered", "timestamp": "1795521600"}
    text = "&messageId=0A&status=delivered&timestamp=1795521600"
    digest = hmac.new(b"secret", text.encode(), getattr(hashlib, method))
    call = WebhookRequest(
        URL, {}, urlencode(signed | {"sig": digest.hexdigest()}).encode()
    )
    reader = provider(SIGNATURE_SECRET="secret", SIGNATURE_METHOD=method)
    reader.clock = lambda: datetime.fromtimestamp(1795521600, tz=UTC)

    assert reader.read_receipts(call)


@pytest.mark.parametrize(
    ("reader", "call"),
    [
        (provider(), WebhookRequest(URL, {}, receipt_call().body + b"&to=x")),
        (provider(), WebhookRequest(URL, {}, urlencode(fields_of()).encode())),
        (provider(), WebhookRequest(URL, {}, urlencode(fields_of(sig="é")).encode())),
        (provider(), WebhookRequest(URL, {}, b"")),
        (provider(SIGNATURE_SECRET="another"), receipt_call()),
        (provider(SIGNATURE_SECRET=""), receipt_call()),
        (provider(SIGNATURE_METHOD="crc32"), receipt_call()),
    ],
    ids=[
        "altered",
        "unsigned",
        "not ASCII",
        "empty",
        "forged",
        "no secret",
        "no method",
    ],
)
def test_a_forged_receipt_is_refused(reader, call):
    with pytest.raises(ForgedReceipt):
        reader.read_receipts(call)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_a_receipt_of_another_time_is_refused(age):
    timestamp = str(int((NOW - age).timestamp()))

    with pytest.raises(ForgedReceipt):
        provider().read_receipts(receipt_call(timestamp=timestamp))

    assert provider(RECEIPT_MAX_AGE=600).read_receipts(
        receipt_call(timestamp=timestamp)
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"messageId": ""},
        {"status": ""},
        {"timestamp": ""},
        {"timestamp": "now"},
        {"timestamp": "999999999999"},
    ],
)
def test_a_receipt_without_its_parameters_is_malformed(fields):
    with pytest.raises((MalformedReceipt, ForgedReceipt)):
        provider().read_receipts(receipt_call(**fields))
