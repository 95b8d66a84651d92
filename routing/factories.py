"""Rows for tests and benchmarks, each valid by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

import factory
from django.apps import apps

from routing.models import (
    ChannelRoutingConfig,
    DeliveryReceipt,
    MessageDeliveryAttempt,
    Rate,
    RetryRule,
)
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class RouteFactory(factory.django.DjangoModelFactory):
    """The default SMS route: Twilio first, then Vonage as the fallback."""

    class Meta:
        model = ChannelRoutingConfig

    channel = Channel.SMS
    primary_provider = "TwilioSMS"
    fallback_provider = "VonageSMS"
    priority = factory.Sequence(lambda number: number + 1)


def shipped_retry_rules() -> None:
    """The rules of a new installation; a test that flushes the tables removes them."""
    import_module("routing.migrations.0010_retry_rules").create(apps, None)


def retry_rule(
    *seconds: int,
    error_class: ErrorClass = ErrorClass.HANDSET_OFF,
    channel: Channel | None = None,
    provider: str = "",
    code: str = "",
    **fields: Any,
) -> RetryRule:
    """The rule for this, with these delays, in the place of one that is shipped."""
    rule, _ = RetryRule.objects.update_or_create(
        error_class=error_class,
        channel=channel,
        provider=provider,
        code=code,
        defaults={"delays_seconds": list(seconds), **fields},
    )
    return rule


class AttemptFactory(factory.django.DjangoModelFactory):
    """A first attempt that Twilio accepted; pass its `message`."""

    class Meta:
        model = MessageDeliveryAttempt

    attempt_number = 1
    channel = Channel.SMS
    provider = "TwilioSMS"
    attempted_at = LONG_AGO
    outcome = AttemptOutcome.ACCEPTED
    external_message_id = factory.Sequence(lambda number: f"SM{number}")


class ReceiptFactory(factory.django.DjangoModelFactory):
    """A receipt by Twilio that a first attempt was delivered; pass its `message`."""

    class Meta:
        model = DeliveryReceipt

    provider = "TwilioSMS"
    event_id = factory.Sequence(lambda number: f"SM{number}:delivered")
    attempt_number = 1
    status = MessageStatus.DELIVERED
    provider_status = "delivered"
    received_at = LONG_AGO
    raw = "MessageStatus=delivered"


class RateFactory(factory.django.DjangoModelFactory):
    """Twilio's price of a German SMS."""

    class Meta:
        model = Rate

    provider = "TwilioSMS"
    channel = Channel.SMS
    dial_prefix = "49"
    country = "DE"
    price = Decimal("0.085")
    currency = "USD"
    valid_from = LONG_AGO.date()
