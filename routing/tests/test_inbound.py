"""Texts from handsets: verified like receipts, stored once, and answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from marketing_platform.provider_settings import simulated_providers
from routing.models import InboundMessage
from routing.simulators.inbound import INBOUND_PROVIDERS, OUR_NUMBER, inbound_call
from routing.tests.signed_calls import FORM, JSON, SIGNERS, Call, from_simulator
from routing.vocabulary import Keyword

PUBLIC_URL = "https://messages.example.com"
ADA = "+14155550101"
every_provider = pytest.mark.parametrize("provider", INBOUND_PROVIDERS)


@pytest.fixture
def client(db, settings):
    """Posts like a provider: through the proxy, and without a CSRF token."""
    settings.PUBLIC_URL = PUBLIC_URL
    settings.SECURE_SSL_REDIRECT = False
    settings.INBOUND_HELP_TEXT = "Shop & Co. Reply STOP to end."
    settings.MESSAGE_PROVIDERS = simulated_providers(9100, public_url=PUBLIC_URL)
    return Client(enforce_csrf_checks=True)


def text_to(provider, text="STOP", *, age=timedelta(0), **changes):
    """The provider's call for a text from Ada."""
    return from_simulator(
        inbound_call(
            provider,
            public_url=PUBLIC_URL,
            sender=ADA,
            text=text,
            now=datetime.now(UTC) - age,
            changes=changes,
        )
    )


def assert_refused(client, call, status):
    """The call is refused with this HTTP status and leaves no trace."""
    assert call.post(client).status_code == status
    assert InboundMessage.objects.count() == 0


@every_provider
def test_a_text_is_stored_as_it_came_and_as_we_read_it(client, provider):
    call = text_to(provider, "Stop.")

    response = call.post(client)

    assert (response.status_code, response.content) == (204, b"")
    stored = InboundMessage.objects.get()
    assert (stored.provider, stored.sender) == (provider, ADA)
    assert (stored.recipient, stored.text) == (OUR_NUMBER, "Stop.")
    assert stored.keyword == Keyword.STOP
    assert stored.raw == call.body.decode()


@every_provider
def test_a_text_that_is_no_keyword_is_stored_too(client, provider):
    text_to(provider, "Is it\nopen? 🙂").post(client)

    stored = InboundMessage.objects.get()
    assert (stored.text, stored.keyword) == ("Is it\nopen? 🙂", None)


@every_provider
def test_a_text_that_comes_twice_is_taken_twice_and_stored_once(client, provider):
    call = text_to(provider)

    assert [call.post(client).status_code for _ in range(2)] == [204, 204]
    assert InboundMessage.objects.count() == 1


@every_provider
def test_an_unsigned_text_is_forged(client, provider):
    assert_refused(client, text_to(provider).unsigned(), 403)


@every_provider
def test_an_altered_text_is_forged(client, provider):
    call = text_to(provider, "STOP")
    altered = Call(
        call.path,
        call.body.replace(b"4155550101", b"4155550102"),
        call.content_type,
        call.headers,
    )

    assert altered.body != call.body
    assert_refused(client, altered, 403)


@pytest.mark.parametrize("provider", ["VonageSMS", "VonageMMS"])
def test_a_text_of_an_hour_ago_is_a_replay(client, provider):
    assert_refused(client, text_to(provider, age=timedelta(hours=1)), 403)


@pytest.mark.parametrize(
    ("provider", "changes"),
    [
        ("TwilioSMS", {"MessageSid": None}),
        ("TwilioSMS", {"From": None}),
        ("TwilioMMS", {"Body": None}),
        ("VonageSMS", {"messageId": None}),
        ("VonageSMS", {"msisdn": None}),
        ("VonageSMS", {"status": "delivered"}),
        ("VonageMMS", {"message_uuid": None}),
        ("VonageMMS", {"from": None}),
        ("VonageMMS", {"message_type": None}),
    ],
)
def test_a_signed_call_that_is_no_text_is_malformed(client, provider, changes):
    assert_refused(client, text_to(provider, **changes), 400)


@pytest.mark.parametrize("provider", ["VonageSMS", "VonageMMS"])
def test_a_receipt_that_is_posted_here_is_no_text(client, provider):
    call = SIGNERS[provider]("m1a1", "X1")
    here = Call(f"{call.path}inbound/", call.body, call.content_type, call.headers)

    assert_refused(client, here, 400)


@every_provider
@pytest.mark.parametrize("body", [b"", b"\xff\0", b"[[[", b"a=b=c&&"], ids=repr)
@pytest.mark.parametrize("content_type", [FORM, JSON])
def test_noise_is_refused(client, provider, body, content_type):
    call = Call(f"/webhooks/{provider}/inbound/", body, content_type)

    assert 400 <= call.post(client).status_code < 404
    assert InboundMessage.objects.count() == 0


@every_provider
def test_a_text_without_end_is_too_large(client, provider):
    body = b"x" * (10 << 20)

    assert_refused(client, Call(f"/webhooks/{provider}/inbound/", body, FORM), 413)


@pytest.mark.parametrize("provider", ["Nobody", "SMTPEmail", "SendGridEmail"])
def test_a_provider_that_no_handset_writes_to_has_no_webhook(client, provider):
    call = Call(f"/webhooks/{provider}/inbound/", b"{}", JSON)

    assert_refused(client, call, 404)


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
def test_texts_are_posted_and_nothing_else(client, method):
    response = getattr(client, method)("/webhooks/TwilioSMS/inbound/")

    assert response.status_code == 405


def test_twilios_own_reading_counts_before_ours(client):
    text_to("TwilioSMS", "ARRÊT", OptOutType="STOP").post(client)

    assert InboundMessage.objects.get().keyword == Keyword.STOP


def test_help_is_answered_with_the_text_of_the_settings(client):
    response = text_to("TwilioSMS", "help?").post(client)

    assert response["Content-Type"] == "text/xml"
    assert response.content.decode() == (
        "<Response><Message>Shop &amp; Co. Reply STOP to end.</Message></Response>"
    )


def test_help_that_twilio_answers_by_itself_is_not_answered_twice(client):
    response = text_to("TwilioSMS", "HELP", OptOutType="HELP").post(client)

    assert response.status_code == 204


def test_without_a_text_for_it_help_is_only_recorded(client, settings):
    settings.INBOUND_HELP_TEXT = ""

    assert text_to("TwilioSMS", "HELP").post(client).status_code == 204
    assert InboundMessage.objects.get().keyword == Keyword.HELP


@pytest.mark.parametrize("provider", ["VonageSMS", "VonageMMS"])
def test_where_the_provider_takes_no_answer_help_is_only_recorded(client, provider):
    assert text_to(provider, "HELP").post(client).status_code == 204
    assert InboundMessage.objects.get().keyword == Keyword.HELP


def test_the_caption_of_a_picture_is_its_text(client):
    image = {"url": "https://api.example.com/media/1", "caption": "stop"}

    text_to("VonageMMS", message_type="image", text=None, image=image).post(client)

    assert InboundMessage.objects.get().keyword == Keyword.STOP


def test_a_sender_that_is_no_number_is_stored_as_it_is(client):
    text_to("VonageSMS", "Hi", msisdn="ACME").post(client)

    assert InboundMessage.objects.get().sender == "ACME"
