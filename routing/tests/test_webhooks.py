"""Where providers post their receipts: verified, stored once, and matched."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from marketing_platform.provider_settings import simulated_providers
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Suppression
from messaging.queue.receipts import apply_receipts
from routing.dispatch import SendRequest, send
from routing.factories import AttemptFactory
from routing.models import DeliveryReceipt
from routing.providers.base import OutboundMessage
from routing.providers.registry import registry
from routing.tests.signed_calls import (
    FORM,
    JSON,
    SIGNERS,
    Call,
    WebhookHandlerClient,
    by_sendgrid,
    by_twilio,
    by_vonage_mms,
    by_vonage_sms,
    given_to,
    sendgrid_batch,
)
from routing.vocabulary import Channel, MessageStatus

PUBLIC_URL = "https://messages.example.com"
RECIPIENTS = {
    Channel.SMS: "+14155550101",
    Channel.MMS: "+14155550101",
    Channel.EMAIL: "ada@example.com",
}
# The simulators' receipts for a delivered message.
SAID_OF_A_DELIVERY = {
    "TwilioSMS": ["sent", "delivered"],
    "VonageSMS": ["delivered"],
    "VonageMMS": ["submitted", "delivered"],
    "SendGridEmail": ["processed", "delivered"],
}
every_provider = pytest.mark.parametrize("provider", SIGNERS)


@pytest.fixture(params=[Client, WebhookHandlerClient])
def client(request, db, settings):
    """Posts like a provider: through the proxy, and without a CSRF token. Whether a
    call may skip Django's handler or not, the same must be true.
    """
    settings.PUBLIC_URL = PUBLIC_URL
    settings.SECURE_SSL_REDIRECT = False
    settings.MESSAGE_PROVIDERS = simulated_providers(9100, public_url=PUBLIC_URL)
    return request.param(enforce_csrf_checks=True)


def message_for(provider, **fields):
    """A message sent by this provider, as its first attempt."""
    channel = registry.provider_class(provider).channel
    values = {"recipient": RECIPIENTS[channel], "status": MessageStatus.SENT}
    return MessageFactory(
        campaign=CampaignFactory(channel=channel),
        provider=provider,
        attempt_count=1,
        **(values | fields),
    )


def assert_refused(client, call, status):
    """The call is refused with this HTTP status and leaves no trace."""
    assert call.post(client).status_code == status
    assert DeliveryReceipt.objects.count() == 0


@every_provider
def test_a_signed_receipt_is_stored_as_it_came_and_moves_its_message(client, provider):
    message = message_for(provider)
    call = SIGNERS[provider](f"m{message.pk}a1", "X1")

    response = call.post(client)

    assert (response.status_code, response.content) == (204, b"")
    stored = DeliveryReceipt.objects.get()
    assert (stored.provider, stored.message) == (provider, message)
    assert stored.attempt_number == 1
    assert stored.external_message_id == "X1"
    assert stored.status == MessageStatus.DELIVERED
    assert stored.provider_status == "delivered"
    if provider == "SendGridEmail":  # many events share a call
        assert [json.loads(stored.raw)] == json.loads(call.body)
    else:
        assert stored.raw == call.body.decode()
    message.refresh_from_db()
    assert message.status == MessageStatus.DELIVERED


@every_provider
def test_a_receipt_that_comes_twice_is_taken_twice_and_stored_once(client, provider):
    call = SIGNERS[provider](f"m{message_for(provider).pk}a1", "X1")

    statuses = [call.post(client).status_code for _ in range(2)]

    assert statuses == [204, 204]
    assert DeliveryReceipt.objects.count() == 1


@every_provider
def test_a_receipt_without_our_reference_is_matched_by_the_providers_id(
    client, provider
):
    message = message_for(provider)
    AttemptFactory(message=message, provider=provider, external_message_id="X1")

    SIGNERS[provider]("", "X1").post(client)

    assert DeliveryReceipt.objects.get().message == message


@every_provider
def test_a_receipt_of_another_installation_is_stored_without_a_message(
    client, provider
):
    response = SIGNERS[provider]("m999999a1", "X1").post(client)

    assert response.status_code == 204
    assert DeliveryReceipt.objects.get().message is None


def test_an_event_about_another_installations_message_touches_none_of_ours(client):
    message = message_for("SendGridEmail")
    reference = f"m{message.pk}a1"

    by_sendgrid(reference, "X1", event="spamreport", email="eve@example.org").post(
        client
    )

    assert DeliveryReceipt.objects.get().message is None
    assert not Suppression.objects.exists()
    message.refresh_from_db()
    assert message.status == MessageStatus.SENT


@pytest.mark.parametrize("told", ["bob@bücher.example", "Bob@XN--BCHER-KVA.example"])
@pytest.mark.parametrize("kept", ["bob@bücher.example", "bob@xn--bcher-kva.example"])
def test_an_event_is_about_its_mailbox_however_that_is_spelled(client, kept, told):
    message = message_for("SendGridEmail", recipient=kept)

    by_sendgrid(f"m{message.pk}a1", "X1", event="bounce", email=told).post(client)

    message.refresh_from_db()
    assert message.status == MessageStatus.BOUNCED


@every_provider
def test_an_unsigned_receipt_is_forged(client, provider):
    assert_refused(client, SIGNERS[provider]("m1a1", "X1").unsigned(), 403)


@every_provider
def test_an_altered_receipt_is_forged(client, provider):
    assert_refused(client, SIGNERS[provider]("m1a1", "X1").altered(), 403)


@every_provider
def test_a_receipt_signed_for_other_ears_is_forged(client, provider):
    other = "TwilioMMS" if provider == "VonageMMS" else "VonageMMS"

    assert_refused(client, SIGNERS[provider]("m1a1", "X1").to(other), 403)


@every_provider
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
    ],
)
def test_the_content_type_of_a_signed_receipt_does_not_matter(
    client, provider, content_type
):
    message = message_for(provider)
    call = replace(
        SIGNERS[provider](f"m{message.pk}a1", "X1"), content_type=content_type
    )

    assert call.post(client).status_code == 204
    assert DeliveryReceipt.objects.get().message == message


def test_a_reference_that_was_exchanged_is_forged(client):
    call = by_twilio("m1a1", "SM1")
    moved = Call(
        call.path.replace("m1", "m2"), call.body, call.content_type, call.headers
    )

    assert_refused(client, moved, 403)


@pytest.mark.parametrize("sign", [by_vonage_sms, by_vonage_mms, by_sendgrid])
def test_a_receipt_of_an_hour_ago_is_a_replay(client, sign):
    assert_refused(client, sign("m1a1", "X1", age=timedelta(hours=1)), 403)


@pytest.mark.parametrize(
    "call",
    [
        lambda: by_twilio("m1a1", "SM1", MessageSid=None),
        lambda: by_twilio("m1a1", "SM1", MessageStatus=None),
        lambda: by_vonage_sms("m1a1", "X1", messageId=None),
        lambda: by_vonage_sms("m1a1", "X1", status=None),
        lambda: by_vonage_mms("m1a1", "X1", message_uuid=None),
        lambda: by_vonage_mms("m1a1", "X1", status=None),
        lambda: sendgrid_batch({"event": "delivered"}),
    ],
)
def test_a_signed_call_that_says_nothing_is_malformed(client, call):
    assert_refused(client, call(), 400)


@every_provider
@pytest.mark.parametrize("body", [b"", b"\xff\0", b"[[[", b"a=b=c&&"], ids=repr)
@pytest.mark.parametrize("content_type", [FORM, JSON])
def test_noise_is_refused(client, provider, body, content_type):
    call = Call(f"/webhooks/{provider}/", body, content_type)

    assert 400 <= call.post(client).status_code < 404
    assert DeliveryReceipt.objects.count() == 0


@every_provider
def test_a_body_without_end_is_too_large(client, provider):
    call = Call(f"/webhooks/{provider}/", b"x" * (10 << 20), FORM)

    assert_refused(client, call, 413)


@pytest.mark.parametrize(
    "provider", ["Nobody", "SMTPEmail"], ids=["unknown", "without receipts"]
)
def test_a_provider_that_sends_no_receipts_has_no_webhook(client, provider):
    assert_refused(client, by_twilio("m1a1", "SM1").to(provider), 404)


def test_a_provider_without_credentials_has_no_webhook(client, settings):
    settings.MESSAGE_PROVIDERS = {
        "TwilioSMS": {"BACKEND": "routing.providers.twilio.TwilioSMS"}
    }

    assert_refused(client, by_twilio("m1a1", "SM1"), 404)


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
def test_receipts_are_posted_and_nothing_else(client, method):
    response = getattr(client, method)("/webhooks/TwilioSMS/")

    assert response.status_code == 405
    assert DeliveryReceipt.objects.count() == 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: by_twilio("m1a1", "SM1").unsigned(), "no valid signature"),
        (lambda: by_twilio("m1a1", "SM1", MessageSid=None), "malformed"),
    ],
)
def test_what_is_refused_is_shown_to_operators(client, caplog, call, says):
    call().post(client)

    assert says in caplog.text


def test_a_batch_is_stored_event_by_event_and_its_noise_left_out(client):
    messages = [message_for("SendGridEmail") for _ in range(3)]
    now = int(datetime.now(UTC).timestamp())
    events = [
        {"event": "delivered", "timestamp": now, "email": each.recipient}
        | {"reference": given_to("SendGridEmail", f"m{each.pk}a1")}
        | {"sg_event_id": f"e{each.pk}", "reason": "\0" * 600}
        for each in messages
    ]

    response = sendgrid_batch([events[0], 7, *events[1:], {}]).post(client)

    assert response.status_code == 204
    stored = DeliveryReceipt.objects.order_by("id")
    assert [each.message for each in stored] == messages


def test_an_opt_out_comes_through_the_webhook(client):
    message = message_for("SendGridEmail")

    by_sendgrid(f"m{message.pk}a1", "X1", event="unsubscribe").post(client)

    assert Suppression.objects.get().address == message.recipient


@pytest.fixture
def receipts_arrive(simulator):
    """Wait until this many receipts were accepted and none is pending, and apply them
    like a worker.

    It asks the simulator, not the database, because the web server's threads may be
    using the only connection of an in-memory SQLite.
    """

    def wait(count):
        end = time.monotonic() + 10
        while True:
            receipts = simulator.state()["receipts"]
            if receipts.get("delivered", 0) >= count and not receipts["pending"]:
                apply_receipts(now=timezone.now())
                return
            assert time.monotonic() < end, receipts
            time.sleep(0.02)

    return wait


def send_one(provider, message, *, reference):
    """Send the message by the simulated provider."""
    is_mms = message.channel == Channel.MMS
    content = OutboundMessage(
        reference=given_to(provider, reference),
        recipient=message.recipient,
        body="Hello",
        subject="News",
        media_urls=["https://example.com/a.jpg"] if is_mms else [],
    )
    [done] = send(
        provider_name=provider,
        requests=[SendRequest(content, segments=1, estimate=None)],
        not_after=datetime.max.replace(tzinfo=UTC),
        clock=lambda: datetime.now(UTC),
    )
    assert done.failure is None
    return done.acceptance.external_message_id


@pytest.mark.django_db(transaction=True)
@every_provider
def test_over_the_wire_every_receipt_comes_twice_and_is_stored_once(
    live_server, simulator, receipts_arrive, provider
):
    simulator.configure(duplicate_receipt_share=1)
    said = SAID_OF_A_DELIVERY[provider]
    message = message_for(provider)

    external_id = send_one(provider, message, reference=f"m{message.pk}a1")
    calls = 1 if provider == "SendGridEmail" else len(said)
    receipts_arrive(2 * calls)

    stored = DeliveryReceipt.objects.order_by("id")
    assert [each.provider_status for each in stored] == said
    assert {each.message_id for each in stored} == {message.pk}
    assert {each.external_message_id for each in stored} == {external_id}
    message.refresh_from_db()
    assert message.status == MessageStatus.DELIVERED


@pytest.mark.django_db(transaction=True)
@every_provider
def test_over_the_wire_a_receipt_finds_its_attempt_by_the_providers_id(
    live_server, simulator, receipts_arrive, provider
):
    simulator.configure(receipt_delay=0.5)  # time enough to record the attempt
    message = message_for(provider)

    external_id = send_one(provider, message, reference="not-one-of-ours")
    AttemptFactory(message=message, provider=provider, external_message_id=external_id)
    receipts_arrive(1)

    message.refresh_from_db()
    assert message.status == MessageStatus.DELIVERED


@pytest.mark.django_db(transaction=True)
@every_provider
def test_over_the_wire_an_undelivered_message_bounces_or_fails(
    live_server, simulator, receipts_arrive, provider
):
    simulator.configure(undelivered_share=1)
    message = message_for(provider)

    send_one(provider, message, reference=f"m{message.pk}a1")
    receipts_arrive(1)

    message.refresh_from_db()
    assert message.status in {MessageStatus.BOUNCED, MessageStatus.FAILED}
    assert message.status_reason.startswith(provider)
