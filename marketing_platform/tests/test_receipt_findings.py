"""Findings about receipts that are refused, never arrive, or are all bad."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.utils import timezone

from marketing_platform.diagnosis.deliveries import deliveries
from marketing_platform.diagnosis.findings import Level
from marketing_platform.diagnosis.metrics import exposition, metrics
from marketing_platform.diagnosis.receipts import missing_receipts, webhook_refusals
from marketing_platform.diagnosis.receipts_setup import receipts_setup
from messaging.factories import CampaignFactory, MessageFactory
from routing.factories import AttemptFactory, ReceiptFactory
from routing.providers.sendgrid import SIMULATED_PUBLIC_KEY
from routing.rules.tally import Key, TallySheet, day_of
from routing.statistics.entries import save_counts
from routing.tests.signed_calls import Unsealed, by_twilio, by_vonage_sms
from routing.tests.test_webhooks import client, message_for
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ErrorClass,
    MessageStatus,
    WebhookOutcome,
)

pytestmark = pytest.mark.django_db
__all__ = ["client"]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PUBLIC = "https://messages.example.com"
URL = {"BASE_URL": "https://api.vendor.example"}
OPTIONS = {
    "twilio.TwilioSMS": {
        **URL,
        **dict.fromkeys(["ACCOUNT_SID", "AUTH_TOKEN", "FROM", "RECEIPT_URL"], "x"),
    },
    "vonage_sms.VonageSMS": {
        **URL,
        **dict.fromkeys(["API_KEY", "API_SECRET", "FROM", "SIGNATURE_SECRET"], "x"),
    },
    "vonage_messages.VonageMMS": {
        **URL,
        **dict.fromkeys(["API_KEY", "API_SECRET", "FROM", "SIGNATURE_SECRET"], "x"),
    },
    "sendgrid.SendGridEmail": {
        **URL,
        "API_KEY": "x",
        "FROM": "a@example.com",
        "WEBHOOK_VERIFICATION_KEY": SIMULATED_PUBLIC_KEY,
    },
}


def configure(settings, backend, public_url=PUBLIC, **changes):
    """An account with one vendor, and our public URL."""
    settings.PUBLIC_URL = public_url
    settings.PROVIDER_SIMULATOR_PORT = None
    name = backend.rpartition(".")[2]
    options = {**OPTIONS[backend], **changes}
    settings.MESSAGE_PROVIDERS = {
        name: {"BACKEND": f"routing.providers.{backend}", "OPTIONS": options}
    }


def found(check):
    finding = check(timezone.now())
    return finding.level, finding.text


def deploy_errors():
    checked = run_checks(include_deployment_checks=True)
    return [each.msg for each in checked if each.id == "marketing_platform.E001"]


# --- the settings -------------------------------------------------------------------


@pytest.mark.parametrize("backend", OPTIONS)
def test_a_complete_setup_is_well(settings, backend):
    configure(settings, backend)

    assert found(receipts_setup)[0] == Level.OK
    assert deploy_errors() == []


UNREACHABLE = [
    "",
    "http://127.0.0.1:8000",
    "http://localhost",
    "https://[::1]",
    "https://[fd00::1]:8443",
    "https://10.0.0.5",
    "https://192.168.1.2:8443",
    "https://169.254.169.254",
    "https://100.64.0.1",
    "https://0.0.0.0",
    "https://127.1",
    "https://0x7f.1",
    "https://messages",
    "https://messages.internal",
    "https://messages.local",
    "https://web.localhost",
]


@pytest.mark.parametrize("backend", OPTIONS)
def test_a_real_account_needs_a_public_url_that_it_can_reach(
    settings, backend, subtests
):
    for url in UNREACHABLE:
        configure(settings, backend, url)
        with subtests.test(url=url):
            level, text = found(receipts_setup)
            assert level == Level.FAIL
            assert "PUBLIC_URL" in text
            assert backend.rpartition(".")[2] in text
            assert len(deploy_errors()) == 1


@pytest.mark.parametrize(
    ("backend", "options", "names"),
    [
        ("vonage_sms.VonageSMS", {"SIGNATURE_SECRET": ""}, "VONAGE_SIGNATURE_SECRET"),
        ("vonage_sms.VonageSMS", {"SIGNATURE_METHOD": "md4"}, "SIGNATURE_METHOD"),
        ("vonage_sms.VonageSMS", {"RECEIPT_MAX_AGE": 0.0}, "RECEIPT_MAX_AGE_SECONDS"),
        (
            "vonage_messages.VonageMMS",
            {"SIGNATURE_SECRET": ""},
            "VONAGE_SIGNATURE_SECRET",
        ),
        (
            "sendgrid.SendGridEmail",
            {"WEBHOOK_VERIFICATION_KEY": ""},
            "SENDGRID_WEBHOOK_VERIFICATION_KEY",
        ),
        (
            "sendgrid.SendGridEmail",
            {"WEBHOOK_VERIFICATION_KEY": "no key"},
            "SENDGRID_WEBHOOK_VERIFICATION_KEY",
        ),
        ("twilio.TwilioSMS", {"RECEIPT_URL": ""}, "RECEIPT_URL"),
    ],
)
def test_what_would_refuse_every_receipt_is_named(settings, backend, options, names):
    configure(settings, backend, **options)

    level, text = found(receipts_setup)

    assert level == Level.FAIL
    assert names in text
    assert names in deploy_errors()[0]


@pytest.mark.parametrize(
    ("url", "level"), [(PUBLIC, Level.FAIL), ("http://127.0.0.1:8000", Level.OK)]
)
def test_simulators_are_for_an_installation_that_is_not_public(settings, url, level):
    configure(settings, "twilio.TwilioSMS", url, BASE_URL="http://127.0.0.1:9101")
    settings.PROVIDER_SIMULATOR_PORT = 9100

    assert found(receipts_setup)[0] == level
    assert len(deploy_errors()) == (level == Level.FAIL)


# --- refused ------------------------------------------------------------------------


def test_a_provider_all_of_whose_calls_are_refused_fails_the_doctor(client):
    for _ in range(20):
        by_twilio("m1a1", "X1").unsigned().post(client)

    level, text = found(webhook_refusals)

    assert level == Level.FAIL
    assert "TwilioSMS refused: 20 no valid signature, last at" in text


@pytest.mark.parametrize(
    ("sign", "hint"),
    [
        (
            lambda: by_twilio("m1a1", "X1"),
            "https://messages.example.com: set",
        ),
        (lambda: by_vonage_sms("m1a1", "X1"), "signed by sha256"),
        (lambda: by_twilio("m1a1", "X1").unsigned(), "no X-Twilio-Signature"),
        (lambda: by_vonage_sms("m1a1", "X1").unsigned(), "switch signed webhooks on"),
    ],
)
def test_what_is_wrong_is_said_where_it_can_be_seen(client, settings, sign, hint):
    call = sign()
    settings.PUBLIC_URL = "http://old.example.com"
    definition = settings.MESSAGE_PROVIDERS["VonageSMS"]
    options = definition["OPTIONS"] | {"SIGNATURE_METHOD": "md5"}
    settings.MESSAGE_PROVIDERS = settings.MESSAGE_PROVIDERS | {
        "VonageSMS": definition | {"OPTIONS": options}
    }
    settings.ALLOWED_HOSTS = ["*"]

    client.post(
        call.path,
        call.body,
        content_type=call.content_type,
        headers=call.headers | {"Host": "messages.example.com"},
    )

    assert hint in found(webhook_refusals)[1]


def test_a_few_forgeries_among_many_calls_are_noise(webhook_counter):
    now = timezone.now()
    for outcome in [WebhookOutcome.ACCEPTED] * 100 + [WebhookOutcome.FORGED] * 3:
        webhook_counter.count("TwilioSMS", outcome, now=now)

    assert found(webhook_refusals)[0] == Level.OK


def test_receipts_that_disagree_are_told(client):
    message = message_for("TwilioSMS")
    by_vonage_sms(Unsealed(f"m{message.pk}a1"), "X1").post(client)

    level, text = found(webhook_refusals)

    assert level == Level.WARN
    assert "1 of another provider or recipient" in text


def test_a_scanner_that_tries_names_is_not_told_at_once(client):
    client.post("/webhooks/wp-login/")

    assert found(webhook_refusals)[0] == Level.OK


# --- missing ------------------------------------------------------------------------


def sent(number, *, minutes, provider="TwilioSMS"):
    at = timezone.now() - minutes * MINUTE
    for _ in range(number):
        MessageFactory(status=MessageStatus.SENT, provider=provider, sent_at=at)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("number", "level"), [(1, Level.WARN), (10, Level.FAIL)])
def test_messages_without_a_receipt_are_reported(number, level):
    sent(number, minutes=47)

    finding = found(missing_receipts)

    assert finding[0] == level
    assert finding[1] == f"TwilioSMS: {number} sent, no receipt for 47 minutes."
    lines = exposition(metrics(timezone.now()))
    assert f'messages_without_receipt{{provider="TwilioSMS"}} {number}' in lines


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("minutes", "provider"), [(5, "TwilioSMS"), (47, "SMTPEmail"), (1500, "TwilioSMS")]
)
def test_what_is_young_or_has_no_receipts_or_is_long_past_is_not(minutes, provider):
    sent(3, minutes=minutes, provider=provider)

    assert found(missing_receipts)[0] == Level.OK


@pytest.mark.parametrize("how", ["a call", "a receipt before calls were counted"])
def test_a_provider_that_was_heard_of_since_is_not_silent(client, how):
    sent(3, minutes=47)
    if how == "a call":
        by_twilio("", "X1").post(client)
    else:
        ReceiptFactory(provider="TwilioSMS", received_at=timezone.now())

    assert found(missing_receipts)[0] == Level.OK


# --- all bad ------------------------------------------------------------------------


def ended(number, *, provider, status, code="", minutes=5):
    channel = Channel.EMAIL if "Email" in provider else Channel.SMS
    campaign = CampaignFactory(channel=channel)
    for _ in range(number):
        ReceiptFactory(
            message=MessageFactory(campaign=campaign),
            provider=provider,
            status=status,
            error_code=code,
            received_at=timezone.now() - minutes * MINUTE,
        )


@pytest.mark.parametrize("provider", ["TwilioSMS", "VonageSMS", "SendGridEmail"])
def test_a_provider_that_delivers_nothing_is_told_with_its_codes(provider):
    ended(30, provider=provider, status=MessageStatus.BOUNCED, code="30034")
    ended(30, provider=provider, status=MessageStatus.BOUNCED, code="30453")

    level, text = found(deliveries)

    assert level == Level.FAIL
    assert text.startswith(f"{provider} delivered 0 of 60 in the last hour: ")
    assert "30034 (30)" in text
    assert "30453 (30)" in text


@pytest.mark.parametrize(
    ("good", "bad", "minutes", "level"),
    [
        (0, 19, 5, Level.OK),  # too few to judge
        (0, 60, 90, Level.OK),  # long past
        (15, 25, 5, Level.WARN),
        (30, 20, 5, Level.OK),
    ],
)
def test_it_takes_some_evidence(good, bad, minutes, level):
    for status, number in [
        (MessageStatus.DELIVERED, good),
        (MessageStatus.BOUNCED, bad),
    ]:
        ended(number, provider="TwilioSMS", status=status, minutes=minutes)

    assert found(deliveries)[0] == level


def test_one_that_takes_nothing_is_told_too():
    for _ in range(20):
        AttemptFactory(
            message=MessageFactory(),
            provider="SMTPEmail",
            outcome=AttemptOutcome.REJECTED,
            error_class=ErrorClass.RECIPIENT,
            error_code="5.7.1",
            attempted_at=timezone.now(),
        )

    assert found(deliveries) == (
        Level.FAIL,
        "SMTPEmail accepted 0 of 20 in the last hour: 5.7.1 (20).",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status:5", "SMTPEmail delivered 0 of 20 since yesterday."),
        ("outcome:2", "SMTPEmail accepted 0 of 20 since yesterday."),
    ],
)
def test_one_that_the_last_hour_does_not_show_is_told_by_the_days(name, text):
    sheet = TallySheet()
    day = day_of(timezone.now() - 23 * HOUR)
    sheet.add(Key(day, Channel.EMAIL, "SMTPEmail"), {name: 20})
    save_counts(sheet)

    assert found(deliveries) == (Level.WARN, text)

    ended(20, provider="SMTPEmail", status=MessageStatus.DELIVERED)
    assert (found(deliveries)[0] == Level.OK) == (name == "status:5")


# --- where one looks ----------------------------------------------------------------


def test_doctor_front_page_and_metrics_all_say_it(client, admin_client):
    by_twilio("m1a1", "X1").unsigned().post(client)
    ended(20, provider="TwilioSMS", status=MessageStatus.BOUNCED, code="30034")
    out = StringIO()

    with pytest.raises(SystemExit):
        call_command("doctor", stdout=out)

    pages = [out.getvalue(), admin_client.get("/admin/").content.decode()]
    for page in pages:
        assert "1 no valid signature" in page
        assert "TwilioSMS delivered 0 of 20" in page
    lines = exposition(metrics(timezone.now()))
    assert (
        'webhook_calls_total{provider="TwilioSMS",outcome="No valid signature"} 1'
        in lines
    )
    listed = admin_client.get("/admin/routing/webhookcount/").content.decode()
    assert "No valid signature" in listed
