"""Twilio's codes, answers, callbacks and signatures."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest
from django.conf import settings as django_settings

from routing.providers.base import (
    AccountError,
    ForgedReceipt,
    HandsetOff,
    MalformedReceipt,
    NotNow,
    OutcomeUnknown,
    ProviderError,
    RecipientError,
    UnmappedError,
    UnsuitableError,
    WebhookRequest,
)
from routing.providers.twilio import CODES, TwilioSMS
from routing.simulators import twilio as simulated
from routing.simulators.credentials import TWILIO_AUTH_TOKEN
from routing.tests.providers.samples import build, message_for
from routing.tests.providers.scripted_server import ScriptedServer, answer, say
from routing.vocabulary import ErrorClass, MessageStatus

URL = "https://example.com/webhooks/TwilioSMS/?reference=m12a3"
TAKEN = answer("201 Created", b'{"sid": "SM1", "status": "queued"}')
SPECS = Path(
    os.environ.get("PROVIDER_SPECS_DIR", django_settings.BASE_DIR / "../shared/specs")
)
# Codes in Twilio's messaging category that neither a Message nor its receipts have.
OTHER_FEATURES = {
    range(14109, 14110): "answers in TwiML",
    range(21710, 21711): "setting up a Messaging Service",
    range(21713, 21729): "setting up a Messaging Service, brand or campaign",
    range(21902, 21903): "invoice tags",
    range(23001, 23007): "redaction",
    range(30009, 30010): "inbound messages",
    range(30025, 30027): "warnings ahead of a daily cap",
    range(30039, 30040): "inbound messages",
    range(30100, 30137): "link shortening and deactivation lists",
    range(30409, 30410): "cancelling a scheduled message",
    range(30436, 30450): "toll-free verification",
    range(35111, 35135): "scheduling and bulk",
    range(57001, 57023): "events of partners",
    range(63015, 63017): "WhatsApp",
    range(63022, 63023): "WhatsApp",
    range(63025, 63026): "WhatsApp",
    range(63027, 63030): "templates of WhatsApp",
    range(63032, 63033): "WhatsApp",
    range(63039, 63040): "Facebook Messenger",
    range(90001, 90007): "reading messages",
    range(90009, 90010): "reading messages",
    range(92001, 92010): "content templates",
}


def provider(**options) -> TwilioSMS:
    return TwilioSMS("TwilioSMS", {"AUTH_TOKEN": TWILIO_AUTH_TOKEN, **options})


def callback(*, url: str = URL, signed_url: str = URL, **fields: str) -> WebhookRequest:
    fields = {"MessageSid": "SM1", "MessageStatus": "delivered"} | fields
    headers = {"X-Twilio-Signature": simulated.sign(signed_url, fields)}
    return WebhookRequest(url, headers, urlencode(fields).encode())


def send_to(server: ScriptedServer, name: str = "TwilioSMS", *, options=None, **fields):
    sender = build(name, BASE_URL=server.url, **(options or {}))
    try:
        return sender.send(message_for(sender, **fields))
    finally:
        sender.close()


def test_a_code_is_what_the_table_says(simulator, subtests):
    sender = build("TwilioSMS")
    for code, make in CODES.items():
        fault = {"code": code, "message": "Because", "status": 400}
        simulator.set_fault("TwilioSMS", "error", **fault)
        kind = type(make(""))
        with subtests.test(code=code):
            with pytest.raises(kind) as caught:
                sender.send(message_for(sender))

            assert (type(caught.value), caught.value.code) == (kind, code)
            is_opt_out = code in {"21610", "30630", "63033"}
            assert getattr(make(""), "opted_out", False) == is_opt_out
            assert getattr(caught.value, "opted_out", False) == is_opt_out
    sender.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("14107", NotNow),  # the recipient's limit
        ("21265", RecipientError),
        ("21268", RecipientError),
        ("21408", UnsuitableError),  # our permission, for one region
        ("21612", UnsuitableError),  # our sender and one destination
        ("21617", UnsuitableError),  # a limit of Twilio's own
        ("21635", RecipientError),
        ("21657", UnsuitableError),
        ("21659", ProviderError),  # our sender, for this message or as such
        ("21660", AccountError),  # our sender as such
        ("21661", AccountError),
        ("21703", UnsuitableError),
        ("21729", UnsuitableError),  # a registration for the United States alone
        ("21731", UnsuitableError),
        ("30003", HandsetOff),
        ("30033", UnsuitableError),
        ("30034", UnsuitableError),
        ("30037", AccountError),
        ("30453", NotNow),
    ],
)
def test_the_fault_is_put_where_the_codes_page_puts_it(code, kind):
    assert type(CODES[code]("")) is kind


def test_a_code_that_the_table_lacks_is_shown(simulator):
    simulator.set_fault("TwilioSMS", "error", code="29999", message="New")
    sender = build("TwilioSMS")

    with pytest.raises(UnmappedError, match="New") as caught:
        sender.send(message_for(sender))

    sender.close()
    assert caught.value.code == "29999"


def test_a_code_of_a_500_proves_nothing(simulator):
    simulator.set_fault("TwilioSMS", "error", code="21211", status=500)
    sender = build("TwilioSMS")

    with pytest.raises(OutcomeUnknown):
        sender.send(message_for(sender))
    sender.close()


def test_every_code_that_a_message_may_bring_is_in_the_table():
    path = SPECS / "twilio_error_codes.messaging.2023.json"
    if not path.exists():
        pytest.skip(f"{path} is not there; set PROVIDER_SPECS_DIR")
    listed = {row["code"] for row in json.loads(path.read_text())["codes"]}
    others = {code for codes in OTHER_FEATURES for code in codes}

    missing = {str(code) for code in listed - others} - set(CODES)

    assert not missing, (
        "Read the page of each of these codes, and give it a row in twilio.CODES, or "
        "in OTHER_FEATURES with the feature that it is of."
    )
    assert not others & set(map(int, CODES))


def test_the_request_is_what_twilio_documents(simulator):
    with ScriptedServer(say(answer("201 Created", b'{"sid": "MM1"}'))) as server:
        send_to(
            server,
            "TwilioMMS",
            options={"RECEIPT_URL": "https://example.com/webhooks/TwilioMMS/"},
            media_urls=["https://example.com/a.jpg", "https://example.com/b.jpg"],
        )

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /2010-04-01/Accounts/AC5555")
    assert parse_qs(body.decode()) == {
        "To": ["+15551234567"],
        "From": ["+15005550006"],
        "Body": ["Hello, Ada"],
        "MediaUrl": ["https://example.com/a.jpg", "https://example.com/b.jpg"],
        "StatusCallback": ["https://example.com/webhooks/TwilioMMS/?reference=m12a3"],
    }


def test_a_messaging_service_takes_the_place_of_the_sender(simulator):
    with ScriptedServer(say(answer("201 Created", b'{"sid": "SM1"}'))) as server:
        send_to(server, options={"FROM": "MG1", "RECEIPT_URL": "https://e.com/?a=b"})

    fields = parse_qs(server.requests[0].partition(b"\r\n\r\n")[2].decode())
    assert fields["MessagingServiceSid"] == ["MG1"]
    assert "From" not in fields
    assert fields["StatusCallback"] == ["https://e.com/?a=b&reference=m12a3"]


def test_price_and_segments_are_read_where_twilio_knows_them(simulator):
    resource = {
        "sid": "SM1",
        "num_segments": "2",
        "price": "-0.0158",
        "price_unit": "usd",
    }
    with ScriptedServer(
        say(answer("201 Created", json.dumps(resource).encode()))
    ) as server:
        acceptance = send_to(server)

    assert (acceptance.segments, acceptance.cost) == (2, Decimal("0.0158"))
    assert acceptance.currency == "USD"


def test_segments_are_unknown_before_a_messaging_service_has_chosen(simulator):
    resource = {"sid": "SM1", "num_segments": "0", "price": None, "price_unit": "USD"}
    with ScriptedServer(
        say(answer("201 Created", json.dumps(resource).encode()))
    ) as server:
        acceptance = send_to(server)

    assert (acceptance.segments, acceptance.cost, acceptance.currency) == (
        None,
        None,
        "",
    )


def test_a_message_that_is_created_as_failed_was_refused(simulator):
    resource = {"sid": "SM1", "status": "failed", "error_code": 21610}
    with (
        ScriptedServer(
            say(answer("201 Created", json.dumps(resource).encode()))
        ) as server,
        pytest.raises(RecipientError) as caught,
    ):
        send_to(server)

    assert caught.value.opted_out


@pytest.mark.parametrize("body", [b"[]", b'{"sid": null}', b"[" * 100_000])
def test_a_success_without_an_id_leaves_the_outcome_unknown(simulator, body):
    with (
        ScriptedServer(say(answer("201 Created", body))) as server,
        pytest.raises(OutcomeUnknown),
    ):
        send_to(server)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", None),
        ("partially_delivered", None),
        ("a-new-word", None),
        ("sent", MessageStatus.SENT),
        ("delivered", MessageStatus.DELIVERED),
        ("read", MessageStatus.DELIVERED),
        ("failed", MessageStatus.FAILED),
        ("canceled", MessageStatus.FAILED),
        ("undelivered", MessageStatus.BOUNCED),
    ],
)
def test_a_callback_is_translated(word, status):
    [receipt] = provider().read_receipts(callback(MessageStatus=word))

    assert (receipt.status, receipt.provider_status) == (status, word)
    assert (receipt.event_id, receipt.reference) == (f"SM1:{word}", "m12a3")
    assert receipt.error_class is None


@pytest.mark.parametrize(
    ("code", "error_class", "opted_out"),
    [
        ("30005", ErrorClass.RECIPIENT, False),
        ("21610", ErrorClass.RECIPIENT, True),
        ("31999", ErrorClass.UNMAPPED, False),
        ("0", None, False),
    ],
)
def test_the_code_of_a_callback_is_classified(code, error_class, opted_out):
    [receipt] = provider().read_receipts(
        callback(MessageStatus="undelivered", ErrorCode=code)
    )

    assert (receipt.error_class, receipt.opted_out) == (error_class, opted_out)
    assert receipt.cap_zone == ""


def test_a_carriers_daily_cap_is_lifted_at_midnight_in_california():
    [receipt] = provider().read_receipts(
        callback(MessageStatus="undelivered", ErrorCode="30027")
    )

    assert receipt.error_class == ErrorClass.THROTTLED
    assert receipt.cap_zone == "America/Los_Angeles"


def test_twilios_own_example_of_a_signature_is_right():
    """https://www.twilio.com/docs/usage/security"""
    documented = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"

    signature = provider(AUTH_TOKEN="12345")._signature(url, list(documented.items()))

    assert signature == b"RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    ("url", "signed_url"),
    [
        ("https://example.com/?a=b", "https://example.com:443/?a=b"),
        ("https://example.com:443/?a=b", "https://example.com/?a=b"),
        ("http://example.com/", "http://example.com:80/"),
        ("https://example.com:8443/?a=b", "https://example.com/?a=b"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("https://example.com:8443/", "https://example.com:443/"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]/"),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]:443/"),
    ],
)
def test_a_port_makes_no_difference(url, signed_url):
    assert provider().read_receipts(callback(url=url, signed_url=signed_url))


@pytest.mark.parametrize(
    "forged",
    [
        callback(signed_url="https://example.com/other"),
        callback(signed_url="https://example.com:8443/"),
        callback(url=URL.replace("m12a3", "m13a1")),
        WebhookRequest(URL, callback().headers, b"MessageSid=SM1&MessageStatus=failed"),
        WebhookRequest(URL, callback().headers, callback().body + b"&ErrorCode=1"),
        WebhookRequest(URL, {}, callback().body),
        WebhookRequest(URL, {"X-Twilio-Signature": "\xe4"}, callback().body),
    ],
    ids=[
        "other URL",
        "other port",
        "other reference",
        "altered",
        "grown",
        "unsigned",
        "not ASCII",
    ],
)
def test_a_forged_callback_is_refused(forged):
    with pytest.raises(ForgedReceipt):
        provider().read_receipts(forged)


@pytest.mark.parametrize("missing", ["MessageSid", "MessageStatus"])
def test_a_callback_without_its_parameters_is_malformed(missing):
    with pytest.raises(MalformedReceipt):
        provider().read_receipts(callback(**{missing: ""}))
