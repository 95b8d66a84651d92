"""Which message a receipt is about: provider, attempt and recipient must match."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from messaging.models import CampaignMessage, Suppression
from messaging.queue.receipts import record_receipts
from routing.factories import AttemptFactory
from routing.models import DeliveryReceipt, WebhookCount
from routing.providers.base import Receipt
from routing.receipts.matching import UNSEALED_FOR, Disagreement, _sealed_since
from routing.reference import reference_for
from routing.tests.signed_calls import SIGNERS, Unsealed, by_vonage_sms, given_to
from routing.tests.test_webhooks import client, every_provider, message_for
from routing.vocabulary import MessageStatus, WebhookOutcome

pytestmark = pytest.mark.django_db
__all__ = ["client"]

OTHERS = {
    "TwilioSMS": "VonageSMS",
    "VonageSMS": "TwilioSMS",
    "VonageMMS": "TwilioSMS",
    "SendGridEmail": "VonageSMS",
}
# How a provider names another recipient.
NAMES_ANOTHER = {
    "TwilioSMS": {"To": "+14155550199"},
    "VonageSMS": {"msisdn": "14155550199"},
    "VonageMMS": {"to": "14155550199"},
    "SendGridEmail": {"email": "eve@example.com"},
}


def assert_moved_nothing(message, why):
    """The receipt is stored and counted, and the message is unchanged."""
    assert DeliveryReceipt.objects.get().message is None
    assert not Suppression.objects.exists()
    message.refresh_from_db()
    assert message.status == MessageStatus.SENT
    counted = WebhookCount.objects.exclude(outcome=WebhookOutcome.ACCEPTED).get()
    outcome = WebhookOutcome.DISAGREES if why else WebhookOutcome.UNMATCHED
    assert (counted.outcome, counted.calls) == (outcome, 1)
    assert counted.last_detail == (why.value if why else "")


@every_provider
def test_one_provider_cannot_move_the_message_of_another(client, provider):
    message = message_for(OTHERS[provider])
    AttemptFactory(message=message, provider=OTHERS[provider])
    stolen = reference_for(message.pk, 1, provider=OTHERS[provider])

    assert SIGNERS[provider](stolen, "X1").post(client).status_code == 204

    assert_moved_nothing(message, Disagreement.PROVIDER)


@every_provider
def test_a_reference_that_is_guessed_moves_nothing(client, provider):
    message = message_for(provider)

    SIGNERS[provider](Unsealed(f"m{message.pk}a1"), "X1").post(client)

    assert_moved_nothing(message, Disagreement.NO_SEAL)


@every_provider
@pytest.mark.parametrize("what", ["INSTALLATION_ID", "SECRET_KEY"])
def test_another_installations_reference_is_not_ours(client, provider, what, settings):
    message = message_for(provider)
    call = SIGNERS[provider](f"m{message.pk}a1", "X1")
    setattr(settings, what, "another one's")

    call.post(client)

    assert_moved_nothing(message, None)


@every_provider
def test_a_receipt_that_names_another_recipient_moves_nothing(client, provider):
    message = message_for(provider)
    another = NAMES_ANOTHER[provider]

    SIGNERS[provider](f"m{message.pk}a1", "X1", **another).post(client)

    assert_moved_nothing(message, Disagreement.RECIPIENT)


@every_provider
def test_the_providers_id_does_not_stand_in_for_another_recipient(client, provider):
    message = message_for(provider)
    AttemptFactory(message=message, provider=provider, external_message_id="X1")

    SIGNERS[provider]("", "X1", **NAMES_ANOTHER[provider]).post(client)

    assert_moved_nothing(message, Disagreement.RECIPIENT)


@every_provider
def test_a_key_that_was_in_use_before_still_counts(client, provider, settings):
    message = message_for(provider)
    call = SIGNERS[provider](f"m{message.pk}a1", "X1")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one"

    call.post(client)

    assert DeliveryReceipt.objects.get().message == message


def test_a_receipt_of_another_attempt_by_another_provider_finds_its_own(client):
    """The message fell back: each provider has its own attempt."""
    message = message_for("TwilioSMS")
    CampaignMessage.objects.update(attempt_count=2)
    AttemptFactory(message=message, provider="VonageSMS", external_message_id="V1")

    by_vonage_sms(f"m{message.pk}a1", "V1").post(client)
    by_vonage_sms(given_to("TwilioSMS", f"m{message.pk}a2"), "V2").post(client)

    told = DeliveryReceipt.objects.order_by("id")
    assert [(each.message, each.attempt_number) for each in told] == [
        (message, 1),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("told", "sent_to"),
    [
        ("14155550101", "+14155550101"),
        ("+5215512345678", "+525512345678"),
        ("5491123456789", "+541123456789"),
        ("551187654321", "+5511987654321"),
        ("0022961234567", "+2290161234567"),
        ("ADA@Example.com", "ada@example.com"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
    ],
)
def test_a_provider_may_spell_the_recipient_in_its_own_way(told, sent_to):
    is_email = "@" in sent_to
    provider = "SendGridEmail" if is_email else "TwilioSMS"
    message = message_for(provider, recipient=sent_to)

    tell(provider, reference_for(message.pk, 1, provider=provider), recipient=told)

    assert DeliveryReceipt.objects.get().message == message


def tell(provider, reference, *, now=None, **fields):
    values = {
        "event_id": "e1",
        "reference": reference,
        "external_message_id": "",
        "status": MessageStatus.DELIVERED,
        "provider_status": "delivered",
    }
    receipt = Receipt(**(values | fields))
    record_receipts(
        provider_name=provider, receipts=[receipt], raw="", now=now or timezone.now()
    )


def older_message(**fields):
    """A message sent before references had seals."""
    message = message_for("TwilioSMS", **fields)
    long_ago = _sealed_since() - timedelta(hours=1)
    CampaignMessage.objects.filter(pk=message.pk).update(created_at=long_ago)
    return message


def test_a_message_that_was_under_way_at_the_upgrade_gets_its_receipt():
    message = older_message()

    tell("TwilioSMS", f"m{message.pk}a1", recipient=message.recipient)

    message.refresh_from_db()
    assert message.status == MessageStatus.DELIVERED


@pytest.mark.parametrize(
    ("provider", "fields", "later", "why"),
    [
        ("VonageSMS", {}, timedelta(), Disagreement.PROVIDER),
        (
            "TwilioSMS",
            {"recipient": "+447400123999"},
            timedelta(),
            Disagreement.RECIPIENT,
        ),
        ("TwilioSMS", {"recipient": ""}, timedelta(), Disagreement.NO_SEAL),
        ("TwilioSMS", {}, UNSEALED_FOR, Disagreement.NO_SEAL),
    ],
)
def test_but_not_one_that_disagrees_or_comes_too_late(provider, fields, later, why):
    message = older_message()
    fields = {"recipient": message.recipient} | fields

    tell(provider, f"m{message.pk}a1", now=timezone.now() + later, **fields)

    assert_moved_nothing(message, why)


def test_it_is_logged_once_not_each_time(client, caplog):
    message = message_for("TwilioSMS")

    for number in range(20):
        by_vonage_sms(Unsealed(f"m{message.pk}a1"), f"X{number}").post(client)

    assert caplog.text.count("has no seal of ours") == 1
    assert WebhookCount.objects.get(outcome=WebhookOutcome.DISAGREES).calls == 20


def test_references_fit_where_they_travel():
    longest = reference_for(2**63 - 1, 2**15 - 1, provider="VonageSMS")

    assert len(longest) <= 40  # Vonage's client-ref
    assert longest.isascii()


def test_no_two_attempts_or_providers_share_a_seal():
    providers = ["TwilioSMS", "TwilioMMS", "VonageSMS"]
    made = {
        reference_for(message, attempt, provider=provider)
        for message in (1, 11, 111)
        for attempt in (1, 11, 111)
        for provider in providers
    }

    assert len({each.partition(".")[2] for each in made}) == 27
