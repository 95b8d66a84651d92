"""Webhook calls are counted by provider and outcome, including refused ones."""

from __future__ import annotations

import time
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from routing.models import WebhookCount
from routing.receipts import webhook_counts
from routing.receipts.webhook_counts import KEPT, forget_old_counts, webhook_calls
from routing.tests.signed_calls import FORM, Call, by_twilio, by_vonage_sms
from routing.tests.test_webhooks import client
from routing.vocabulary import WebhookOutcome

pytestmark = pytest.mark.django_db
__all__ = ["client"]
HOUR = timedelta(hours=1)
TOO_LARGE = Call("/webhooks/TwilioSMS/", b"x" * (10 << 20), FORM)
INBOUND = Call("/webhooks/TwilioSMS/inbound/", b"", FORM)


def counted():
    """The recent counts: provider, outcome and number."""
    return [
        (each.kind.provider, each.kind.outcome, each.calls)
        for each in webhook_calls(since=timezone.now() - HOUR)
    ]


def last_detail():
    return webhook_calls(since=timezone.now() - HOUR)[-1].last_detail


@pytest.mark.parametrize(
    ("call", "provider", "outcome"),
    [
        (by_twilio, "TwilioSMS", WebhookOutcome.UNMATCHED),
        (lambda *of: by_twilio(*of).unsigned(), "TwilioSMS", WebhookOutcome.FORGED),
        (lambda *of: INBOUND, "TwilioSMS", WebhookOutcome.FORGED),
        (
            lambda *of: by_vonage_sms(*of, status=None),
            "VonageSMS",
            WebhookOutcome.MALFORMED,
        ),
        (lambda *of: TOO_LARGE, "TwilioSMS", WebhookOutcome.TOO_LARGE),
        (lambda *of: by_twilio(*of).to("Twillio"), "", WebhookOutcome.UNKNOWN_PROVIDER),
        (
            lambda *of: by_twilio(*of).to("SMTPEmail"),
            "SMTPEmail",
            WebhookOutcome.UNKNOWN_PROVIDER,
        ),
    ],
)
def test_each_call_counts_as_what_came_of_it(client, call, provider, outcome):
    for _ in range(2):
        call("m1a1", "X1").post(client)

    times = 1 if outcome == WebhookOutcome.UNMATCHED else 2  # a repeat is none
    assert (provider, outcome, times) in counted()
    assert not any(each.lower() in last_detail() for each in ("\n", "\0"))


def test_a_get_in_place_of_a_post_is_counted_and_named(client):
    response = client.get("/webhooks/VonageSMS/")

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert counted() == [("VonageSMS", WebhookOutcome.WRONG_METHOD, 1)]


@pytest.mark.parametrize(
    ("setting", "value", "status"),
    [("SECURE_SSL_REDIRECT", True, 301), ("ALLOWED_HOSTS", ["elsewhere.example"], 400)],
)
def test_what_never_gets_to_the_webhook_is_counted_too(
    client, settings, setting, value, status
):
    setattr(settings, setting, value)

    assert by_twilio("m1a1", "X1").post(client).status_code == status

    assert counted() == [("TwilioSMS", WebhookOutcome.TURNED_AWAY, 1)]
    assert str(status) in last_detail()


def test_an_error_of_ours_is_counted(client):
    client.raise_request_exception = False

    with patch("routing.receipts.webhooks.store", side_effect=RuntimeError):
        by_twilio("m1a1", "X1").post(client)

    assert counted() == [("TwilioSMS", WebhookOutcome.FAILED, 1)]


def test_twenty_thousand_refusals_are_a_few_lines_of_the_log(client, caplog):
    for _ in range(50):
        by_twilio("m1a1", "X1").unsigned().post(client)

    assert counted() == [("TwilioSMS", WebhookOutcome.FORGED, 50)]
    assert len(caplog.records) == 1


def test_calls_are_written_once_a_second_and_none_is_left_out(webhook_counter):
    webhook_counter.save_every = HOUR
    webhook_counter.forget()
    now = timezone.now()
    with patch.object(webhook_counter, "_save_soon"):
        for _ in range(100):
            webhook_counter.count("TwilioSMS", WebhookOutcome.ACCEPTED, now=now)

    assert WebhookCount.objects.get().calls == 1
    assert counted() == [("TwilioSMS", WebhookOutcome.ACCEPTED, 100)]


def test_what_cannot_be_written_now_is_written_later(webhook_counter):
    with patch.object(webhook_counts, "_write", side_effect=DatabaseError):
        webhook_counter.count("TwilioSMS", WebhookOutcome.FORGED, now=timezone.now())

    assert counted() == [("TwilioSMS", WebhookOutcome.FORGED, 1)]


@pytest.mark.django_db(transaction=True)
def test_the_last_calls_are_written_though_no_other_comes(webhook_counter):
    if connection.vendor == "sqlite":
        pytest.skip("an in-memory SQLite database has one connection")
    webhook_counter.save_every = timedelta(seconds=0.2)
    webhook_counter.forget()
    now = timezone.now()
    for _ in range(5):
        webhook_counter.count("TwilioSMS", WebhookOutcome.FORGED, now=now)

    end = time.monotonic() + 5
    while WebhookCount.objects.get().calls < 5:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_counts_of_long_ago_are_cleared_away(webhook_counter):
    now = timezone.now()
    for at in (now - KEPT - HOUR, now):
        webhook_counter.count("TwilioSMS", WebhookOutcome.FORGED, now=at)

    forget_old_counts(now=now)

    assert WebhookCount.objects.count() == 1
