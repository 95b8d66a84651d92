"""SendGrid's errors, events and signatures."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from routing.providers.base import (
    AccountError,
    Enquiry,
    ForgedReceipt,
    MalformedReceipt,
    RecipientError,
    Throttled,
    UnmappedError,
    UnsuitableError,
    WebhookRequest,
)
from routing.providers.sendgrid import CODES, SIMULATED_PUBLIC_KEY, SendGridEmail
from routing.simulators import sendgrid as simulated
from routing.tests.providers.samples import build, message_for
from routing.tests.providers.scripted_server import ScriptedServer, answer, say
from routing.text.email_addresses import canonical_email
from routing.vocabulary import ErrorClass, MessageStatus

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
URL = "https://example.com/webhooks/SendGridEmail/"
TAKEN = answer("202 Accepted", b"", "X-Message-Id: s1")
NEITHER, OPTED_OUT, COMPLAINED = (False, False), (True, False), (False, True)
RECIPIENT_FIELD = "personalizations.0.to.0.email"


def provider(**options) -> SendGridEmail:
    reader = SendGridEmail(
        "SendGridEmail",
        {
            "API_KEY": "SG.x",
            "BASE_URL": "http://127.0.0.1:1/v3/",
            "FROM": "a@example.com",
            "WEBHOOK_VERIFICATION_KEY": SIMULATED_PUBLIC_KEY,
            **options,
        },
    )
    reader.clock = lambda: NOW
    return reader


def event(name: str, **fields) -> dict:
    return {
        "event": name,
        "email": "ada@example.com",
        "timestamp": int(NOW.timestamp()),
        "sg_event_id": "e1",
        "anymail_id": "u1",
        "reference": "m12a3",
    } | fields


def batch(*events, signed_at: datetime = NOW) -> WebhookRequest:
    body = json.dumps(list(events)).encode()
    return signed(body, str(int(signed_at.timestamp())))


def signed(body: bytes, timestamp: str) -> WebhookRequest:
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": simulated.sign(timestamp, body),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return WebhookRequest(URL, headers, body)


@pytest.mark.parametrize("recipient", ["bob@bücher.example", "Bob\u200b@faß.example"])
def test_an_address_takes_its_one_form_and_gets_an_id(simulator, recipient):
    with ScriptedServer(say(answer("202 Accepted"))) as server:
        sender = build("SendGridEmail", BASE_URL=f"{server.url}/v3")
        acceptance = sender.send(message_for(sender, recipient=recipient))
        sender.close()

    [personalization] = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])[
        "personalizations"
    ]
    assert personalization["to"] == [{"email": canonical_email(recipient)}]
    assert len(acceptance.external_message_id) == 36


@pytest.mark.parametrize("code", CODES)
def test_an_error_is_what_the_table_says(simulator, code):
    fault = code if code.isdecimal() else f"400:{code}"
    simulator.set_fault("SendGridEmail", "error", code=fault, message="Because")
    sender = build("SendGridEmail")
    kind = type(CODES[code](""))

    with pytest.raises(kind, match="Because") as caught:
        sender.send(message_for(sender))

    sender.close()
    assert (type(caught.value), caught.value.code) == (kind, code)


@pytest.mark.parametrize(
    ("field", "kind"), [("subject", UnsuitableError), ("from.email", AccountError)]
)
def test_another_field_is_the_messages_fault_or_ours_and_is_named(
    simulator, field, kind
):
    simulator.set_fault("SendGridEmail", "error", code=f"400:{field}", message="No")
    sender = build("SendGridEmail")

    with pytest.raises(kind, match=rf"No \({field}\)"):
        sender.send(message_for(sender))
    sender.close()


def test_a_status_that_the_table_lacks_is_shown(simulator):
    simulator.set_fault("SendGridEmail", "error", code="422")
    sender = build("SendGridEmail")

    with pytest.raises(UnmappedError) as caught:
        sender.send(message_for(sender))

    sender.close()
    assert caught.value.code == "422"


def test_the_rate_limit_says_when_it_starts_anew(simulator):
    reset = int(NOW.timestamp()) + 20
    reply = answer("429 Too Many Requests", b"{}", f"X-RateLimit-Reset: {reset}")
    with ScriptedServer(say(reply)) as server:
        sender = build("SendGridEmail", BASE_URL=server.url)
        sender.clock = lambda: NOW
        with pytest.raises(Throttled) as caught:
            sender.send(message_for(sender))
        sender.close()

    assert caught.value.retry_after == timedelta(seconds=20)


def test_the_request_is_what_sendgrid_documents(simulator):
    with ScriptedServer(say(answer("202 Accepted"))) as server:
        sender = build("SendGridEmail", BASE_URL=f"{server.url}/v3")
        acceptance = sender.send(message_for(sender))
        sender.close()

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    mail = json.loads(body)
    assert head.startswith(b"POST /v3/mail/send HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer SG.simulated\r\n" in head
    assert b"\r\nAccept-Encoding: identity" in head
    assert mail["from"] == {"email": "campaigns@example.com", "name": "Campaigns"}
    assert mail["subject"] == "A word"
    assert mail["content"] == [{"type": "text/plain", "value": "Hello, Ada"}]
    [personalization] = mail["personalizations"]
    assert personalization["to"] == [{"email": "ada@example.com"}]
    arguments = mail.get("custom_args", {}) | personalization["custom_args"]
    assert arguments == {
        "reference": "m12a3",
        "anymail_id": acceptance.external_message_id,
    }


def test_what_is_looked_up_of_one_call_is_told_apart(simulator):
    activity = {"messages": [{"msg_id": "of-the-call", "status": "delivered"}]}
    reply = say(answer("200 OK", json.dumps(activity).encode()))
    with ScriptedServer(reply, reply) as server:
        sender = build("SendGridEmail", BASE_URL=server.url)
        found = [
            sender.look_up(Enquiry(message_for(sender, reference=each), NOW, NOW, NOW))
            for each in ("m1a1", "m2a1")
        ]
        sender.close()

    assert len({receipt.event_id for receipt in found}) == 2


def test_a_redirect_is_not_followed(simulator):
    reply = answer("302 Found", b"", "Location: /v3/mail/send")
    with ScriptedServer(say(reply)) as server:
        sender = build("SendGridEmail", BASE_URL=server.url)
        with pytest.raises(Exception, match="302"):
            sender.send(message_for(sender))
        sender.close()

    assert len(server.requests) == 1


def test_a_netrc_does_not_replace_the_key(simulator, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(netrc))
    sender = build("SendGridEmail")

    assert sender.send(message_for(sender))
    sender.close()


def test_a_key_that_is_no_header_is_an_account_error_and_is_not_quoted():
    sender = provider(API_KEY="canary\n")

    with pytest.raises(AccountError) as caught:
        sender.send(message_for(sender))

    assert "canary" not in repr(caught.value)


@pytest.mark.parametrize("recipient", ["nobody", "a@b.c\n"])
def test_what_is_no_address_is_refused(recipient):
    with pytest.raises(RecipientError):
        provider().send(message_for(provider(), recipient=recipient))


@pytest.mark.parametrize(
    ("name", "fields", "status", "error_class", "says_no"),
    [
        ("processed", {}, None, None, NEITHER),
        ("deferred", {"response": "451 later"}, None, None, NEITHER),
        ("open", {}, None, None, NEITHER),
        ("a-new-word", {}, None, None, NEITHER),
        ("delivered", {}, MessageStatus.DELIVERED, None, NEITHER),
        (
            "bounce",
            {"type": "bounce", "status": "5.1.1", "reason": "unknown"},
            MessageStatus.BOUNCED,
            ErrorClass.RECIPIENT,
            NEITHER,
        ),
        (
            "bounce",
            {"type": "blocked"},
            MessageStatus.BOUNCED,
            ErrorClass.PROVIDER,
            NEITHER,
        ),
        (
            "dropped",
            {"reason": "Bounced Address"},
            MessageStatus.FAILED,
            ErrorClass.RECIPIENT,
            NEITHER,
        ),
        (
            "dropped",
            {"reason": "Unsubscribed Address"},
            MessageStatus.FAILED,
            ErrorClass.RECIPIENT,
            OPTED_OUT,
        ),
        (
            "dropped",
            {"reason": "Spam Content"},
            MessageStatus.FAILED,
            ErrorClass.PROVIDER,
            NEITHER,
        ),
        (
            "dropped",
            {"reason": "Spam Reporting Address"},
            MessageStatus.FAILED,
            ErrorClass.RECIPIENT,
            COMPLAINED,
        ),
        ("spamreport", {}, MessageStatus.DELIVERED, None, COMPLAINED),
        ("unsubscribe", {}, None, None, OPTED_OUT),
        ("group_unsubscribe", {}, None, None, OPTED_OUT),
    ],
)
def test_an_event_is_translated(name, fields, status, error_class, says_no):
    [receipt] = provider().read_receipts(batch(event(name, **fields)))

    assert (receipt.status, receipt.provider_status) == (status, name)
    assert receipt.error_class == error_class
    assert (receipt.opted_out, receipt.complained) == says_no
    assert (receipt.reference, receipt.external_message_id) == ("m12a3", "u1")
    assert (receipt.event_id, receipt.occurred_at) == ("e1", NOW)


@pytest.mark.parametrize(
    ("fields", "error_class"),
    [
        ({"bounce_classification": "Invalid Address"}, ErrorClass.RECIPIENT),
        ({"bounce_classification": "Mailbox Unavailable"}, ErrorClass.NOT_NOW),
        ({"bounce_classification": "Content"}, ErrorClass.MESSAGE),
        ({"bounce_classification": "Reputation"}, ErrorClass.PROVIDER),
        (
            {"bounce_classification": "Frequency or Volume Too High"},
            ErrorClass.PROVIDER,
        ),
        ({"bounce_classification": "Technical Failure"}, ErrorClass.PROVIDER),
        (
            {"status": "5.1.1", "bounce_classification": "Reputation"},
            ErrorClass.PROVIDER,
        ),
        (
            {"status": "5.1.10", "bounce_classification": "Unclassified"},
            ErrorClass.RECIPIENT,
        ),
        ({"status": "5.1.2"}, ErrorClass.RECIPIENT),
        ({"status": "4.1.1"}, ErrorClass.NOT_NOW),
        ({"status": "5.1.8"}, ErrorClass.ACCOUNT),
        ({"status": "5.2.2"}, ErrorClass.MAILBOX_FULL),
        (
            {"status": "5.2.2", "bounce_classification": "Mailbox Unavailable"},
            ErrorClass.MAILBOX_FULL,
        ),
        ({"status": "5.3.0"}, ErrorClass.PROVIDER),
        ({"status": "5.6.0"}, ErrorClass.MESSAGE),
        ({"status": "5.7.1"}, ErrorClass.PROVIDER),
        ({"reason": "550 5.1.1 no such account"}, ErrorClass.RECIPIENT),
        ({"reason": "550-5.7.26 unauthenticated"}, ErrorClass.PROVIDER),
        ({"status": "5.0.0", "reason": "500 unknown recipient"}, ErrorClass.RECIPIENT),
        ({"status": "5.0.0", "reason": "550 Access denied"}, ErrorClass.PROVIDER),
        ({}, ErrorClass.PROVIDER),
        ({"type": "blocked", "status": "5.1.1"}, ErrorClass.PROVIDER),
    ],
)
def test_only_a_mailbox_that_is_not_there_is_the_recipients_fault(fields, error_class):
    bounce = event("bounce", **{"type": "bounce"} | fields)

    [receipt] = provider().read_receipts(batch(bounce))

    assert receipt.error_class == error_class


def test_an_event_without_an_id_of_its_own_gets_one():
    [receipt] = provider().read_receipts(batch(event("open", sg_event_id=None)))

    assert receipt.event_id == f"u1:open:{int(NOW.timestamp())}"


def test_what_is_no_event_spoils_no_batch(caplog):
    events = [7, None, {}, {"event": "x", "timestamp": 1e300}, event("delivered")]

    receipts = provider().read_receipts(batch(*events))

    assert [receipt.provider_status for receipt in receipts] == ["delivered"]
    assert caplog.text.count("no event") == 4


def test_each_event_of_a_call_brings_its_own_part_of_it():
    events = [event("delivered", sg_event_id=f"e{n}", smile="🙂\0") for n in range(3)]

    receipts = provider().read_receipts(batch(*events))

    assert [json.loads(receipt.raw) for receipt in receipts] == events


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" * 100_000])
def test_what_is_no_batch_is_malformed(body):
    with pytest.raises(MalformedReceipt):
        provider().read_receipts(signed(body, str(int(NOW.timestamp()))))


GOOD = batch(event("delivered"))


@pytest.mark.parametrize(
    ("reader", "call"),
    [
        (provider(), WebhookRequest(URL, {}, GOOD.body)),
        (provider(), WebhookRequest(URL, GOOD.headers, GOOD.body + b" ")),
        (
            provider(),
            WebhookRequest(
                URL,
                {**GOOD.headers, "X-Twilio-Email-Event-Webhook-Timestamp": "1"},
                GOOD.body,
            ),
        ),
        (
            provider(),
            WebhookRequest(
                URL,
                {**GOOD.headers, "X-Twilio-Email-Event-Webhook-Signature": "é*"},
                GOOD.body,
            ),
        ),
        (provider(), batch(event("open"), signed_at=NOW - timedelta(minutes=6))),
        (provider(), batch(event("open"), signed_at=NOW + timedelta(minutes=6))),
        (provider(), signed(GOOD.body, "yesterday")),
        (provider(), signed(GOOD.body, "99999999999")),
        (provider(WEBHOOK_VERIFICATION_KEY=""), GOOD),
        (provider(WEBHOOK_VERIFICATION_KEY="nonsense"), GOOD),
    ],
    ids=[
        "unsigned",
        "altered",
        "other time",
        "not base64",
        "stale",
        "future",
        "no time",
        "time out of range",
        "no key",
        "bad key",
    ],
)
def test_a_forged_batch_is_refused(reader, call):
    with pytest.raises(ForgedReceipt):
        reader.read_receipts(call)
