"""Webhook calls that are in order skip Django's handler; all others go through it.

That both ways refuse the same is shown in routing/tests/test_webhooks.py.
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from django.conf import settings
from django.utils import timezone

from marketing_platform.provider_settings import simulated_providers
from marketing_platform.webhook_handler import Headers, WebhookHandler
from routing.models import WaitingReceipt
from routing.receipts.webhook_counts import webhook_calls
from routing.tests.signed_calls import FORM, Call, by_twilio
from routing.vocabulary import WebhookOutcome

PROXIED = {"HTTP_X_FORWARDED_PROTO": "https"}


@pytest.fixture(autouse=True)
def _installation(db, settings, monkeypatch):
    # It would close the connection of the test's transaction.
    monkeypatch.setattr(
        "marketing_platform.webhook_handler.close_old_connections", bool
    )
    settings.PUBLIC_URL = "https://messages.example.com"
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.ALLOWED_HOSTS = ["messages.example.com"]
    settings.MESSAGE_PROVIDERS = simulated_providers(
        9100, public_url=settings.PUBLIC_URL
    )


def environ_of(call, **values):
    path, _, query = call.path.partition("?")
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in call.headers.items()
    }
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": call.content_type,
        "CONTENT_LENGTH": str(len(call.body)),
        "HTTP_HOST": "messages.example.com",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(call.body),
        **PROXIED,
        **headers,
        **values,
    }


def way_of(environ):
    """How it was answered, and the body that was left to Django, if it was."""
    statuses, bodies = [], []

    def django(environ, start):
        bodies.append(environ["wsgi.input"].read())
        return []

    handler = WebhookHandler(django)
    handler(environ, lambda status, headers: statuses.append(status))
    return statuses, bodies


def test_a_call_in_order_is_stored_counted_and_answered_at_once():
    environ = environ_of(by_twilio("m1a1", "SM1"))

    assert way_of(environ) == (["204 No Content"], [])
    assert WaitingReceipt.objects.get().event_id == "SM1:delivered"
    (calls,) = webhook_calls(since=timezone.now())
    assert (calls.kind, calls.calls) == (("TwilioSMS", WebhookOutcome.ACCEPTED), 1)


@pytest.mark.parametrize(
    "values",
    [
        {"REQUEST_METHOD": "GET"},
        {"HTTP_HOST": "elsewhere.example.com"},
        {"HTTP_HOST": ""},
        {"HTTP_X_FORWARDED_PROTO": "http"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": str(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)},
        {"PATH_INFO": "/webhooks/TwilioSMS/inbound/"},
        {"PATH_INFO": "/webhooks/TwilioSMS"},
        {"PATH_INFO": "/webhooks/Nobody/"},
        {"PATH_INFO": "/unsubscribe/webhooks/TwilioSMS/"},
    ],
    ids=str,
)
def test_a_call_that_is_not_as_usual_is_left_to_django_with_its_body(values):
    call = by_twilio("m1a1", "SM1")

    assert way_of(environ_of(call, **values)) == ([], [call.body])
    assert not WaitingReceipt.objects.exists()


@pytest.mark.parametrize(
    "call",
    [
        lambda: by_twilio("m1a1", "SM1").altered(),
        lambda: by_twilio("m1a1", "SM1", MessageSid=None),
        lambda: by_twilio("m1a1", "SM1", ErrorCode="21610"),  # they said STOP
        lambda: Call("/webhooks/TwilioSMS/", b"\xff\0", FORM),
    ],
    ids=["forged", "malformed", "urgent", "noise"],
)
def test_what_needs_more_than_storing_is_left_to_django_with_its_body(call):
    call = call()

    assert way_of(environ_of(call)) == ([], [call.body])
    assert not WaitingReceipt.objects.exists()


def test_a_fault_of_ours_is_left_to_django_which_answers_it(monkeypatch):
    monkeypatch.setattr("routing.receipts.webhooks.store", lambda **_: 1 / 0)
    call = by_twilio("m1a1", "SM1")

    assert way_of(environ_of(call)) == ([], [call.body])


def test_headers_are_found_whatever_their_case():
    call = replace(by_twilio("m1a1", "SM1"), headers={"X-A": "b"})

    headers = Headers(environ_of(call))

    assert (headers["x-a"], headers.get("Content-Type")) == ("b", FORM)
    assert headers.get("X-Other", "") == ""
    assert {"X-A", "Content-Length", "Host"} <= set(headers)
