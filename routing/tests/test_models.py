"""Database constraints, `clean`, and the route as a value."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from messaging.factories import MessageFactory
from routing.factories import AttemptFactory, ReceiptFactory, RouteFactory
from routing.models import (
    ChannelRoutingConfig,
    DeliveryReceipt,
    MessageDeliveryAttempt,
)
from routing.rules.retry import ExponentialRetry, LinearRetry, RetryHistory, no_retry
from routing.vocabulary import (
    Channel,
    RetryStrategy,
    RoutingStrategy,
    UnknownOutcomePolicy,
)

pytestmark = pytest.mark.django_db


def stop_at_once(history: RetryHistory) -> timedelta | None:
    """A custom retry policy."""
    return None


NOT_CALLABLE = "not a policy"
HERE = "routing.tests.test_models"


@pytest.fixture(autouse=True)
def listed(settings):
    """The policies that routes may use."""
    names = ("stop_at_once", "NOT_CALLABLE", "gone")
    settings.RETRY_POLICIES = [f"{HERE}.{name}" for name in names]


def refused(create, constraint, **fields):
    """The database, not Python, refuses these fields by this constraint."""
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        create(**fields)
    # SQLite names the columns of a unique constraint, not the constraint.
    assert constraint in str(caught.value) or "UNIQUE" in str(caught.value)


def problems(**fields):
    """The errors of `full_clean` for a route with these fields."""
    with pytest.raises(ValidationError) as caught:
        RouteFactory.build(**fields).full_clean()
    return caught.value.message_dict


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        (
            "retry_delay_maximum_not_below_initial",
            {"initial_retry_delay_seconds": 61, "max_retry_delay_seconds": 60},
        ),
        ("enabled_fallback_names_a_provider", {"fallback_provider": ""}),
        ("fallback_differs_from_primary", {"fallback_provider": "TwilioSMS"}),
        (
            "custom_retry_policy_only_for_custom",
            {"retry_strategy": RetryStrategy.CUSTOM},
        ),
        (
            "custom_retry_policy_only_for_custom",
            {"custom_retry_policy": f"{HERE}.stop_at_once"},
        ),
    ],
)
def test_the_database_refuses_a_route_that_contradicts_itself(constraint, fields):
    refused(RouteFactory, constraint, **fields)


def test_the_database_refuses_a_second_active_route_of_the_same_priority():
    RouteFactory(priority=7)

    refused(RouteFactory, "one_active_route_per_scope_and_priority", priority=7)


@pytest.mark.parametrize(
    "fields",
    [
        {"is_active": False},
        {"priority": 8},
        {"channel": Channel.MMS},
        {"country": "DE"},
    ],
    ids=["inactive", "of another priority", "of another channel", "of another scope"],
)
def test_a_second_route_may_stand_beside_the_first_when_it_is(fields):
    RouteFactory(priority=7)

    RouteFactory(**({"priority": 7} | fields))

    assert ChannelRoutingConfig.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        (
            {"primary_provider": "Nobody"},
            "primary_provider",
            "Unknown provider 'Nobody'. MESSAGE_PROVIDERS has: TwilioSMS,",
        ),
        (
            {"fallback_provider": "VonageMMS"},
            "fallback_provider",
            "VonageMMS does not carry SMS. Those that do: TwilioSMS, Vonage",
        ),
        (
            {
                "retry_strategy": RetryStrategy.CUSTOM,
                "custom_retry_policy": f"{HERE}.gone",
            },
            "custom_retry_policy",
            "cannot be imported",
        ),
        (
            {
                "retry_strategy": RetryStrategy.CUSTOM,
                "custom_retry_policy": f"{HERE}.NOT_CALLABLE",
            },
            "custom_retry_policy",
            "must be callable",
        ),
        ({"fallback_provider": ""}, "__all__", "Fallback is enabled: choose"),
        (
            {"fallback_provider": "TwilioSMS"},
            "__all__",
            "The fallback provider is the primary one",
        ),
        (
            {"max_retry_delay_seconds": 1},
            "__all__",
            "The maximum retry delay is below the initial one.",
        ),
        (
            {"retry_strategy": RetryStrategy.CUSTOM},
            "__all__",
            "takes the dotted path of a policy",
        ),
    ],
)
def test_a_mistake_is_named_at_its_field(fields, field, says):
    assert says in problems(**fields)[field][0]


def test_a_channel_that_does_not_exist_is_a_mistake_and_no_crash():
    assert "channel" in problems(channel=99)


def test_a_taken_priority_is_explained_to_who_chooses_it():
    RouteFactory(priority=7)

    said = problems(priority=7)

    assert (
        "Another active route of this channel has this scope and priority"
        in said["__all__"][0]
    )


def test_a_route_becomes_the_value_that_decisions_are_made_from():
    config = RouteFactory(
        max_retries=5,
        retry_strategy=RetryStrategy.LINEAR,
        initial_retry_delay_seconds=10,
        max_retry_delay_seconds=90,
        unknown_outcome_policy=UnknownOutcomePolicy.RESEND,
        enable_fallback=False,
    )

    route = config.as_route()

    assert route.config_id == config.pk
    assert route.channel is Channel.SMS
    assert route.strategy is RoutingStrategy.PRIMARY
    assert route.providers == ("TwilioSMS", "VonageSMS")
    assert not route.is_fallback_enabled
    assert route.max_retries == 5
    assert route.retry_policy == LinearRetry(timedelta(seconds=10), timedelta(0, 90))
    assert route.unknown_outcome_policy is UnknownOutcomePolicy.RESEND


@pytest.mark.parametrize(
    ("strategy", "policy"),
    [
        (RetryStrategy.NONE, no_retry),
        (
            RetryStrategy.EXPONENTIAL,
            ExponentialRetry(timedelta(minutes=1), timedelta(hours=1)),
        ),
    ],
)
def test_a_retry_strategy_stands_for_its_policy(strategy, policy):
    assert RouteFactory.build(retry_strategy=strategy).retry_policy == policy


def test_a_custom_policy_is_the_function_of_its_path():
    route = RouteFactory(
        retry_strategy=RetryStrategy.CUSTOM, custom_retry_policy=f"{HERE}.stop_at_once"
    )

    assert route.as_route().retry_policy.policy is stop_at_once


def test_a_route_without_fallback_provider_has_one_provider():
    route = RouteFactory(fallback_provider="", enable_fallback=False)

    assert route.providers == ("TwilioSMS",)


def test_active_routes_come_by_channel_with_the_highest_priority_first():
    low, high = RouteFactory(priority=1), RouteFactory(priority=9)
    mms = RouteFactory(channel=Channel.MMS, primary_provider="TwilioMMS")
    RouteFactory(priority=99, is_active=False)

    assert list(ChannelRoutingConfig.objects.active()) == [high, low, mms]


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("attempts_count_from_one", {"attempt_number": 0}),
        ("attempt_cost_has_a_currency", {"cost": Decimal(1)}),
        ("attempt_cost_has_a_currency", {"currency": "EUR"}),
    ],
)
def test_the_database_refuses_an_attempt_that_cannot_have_been(constraint, fields):
    refused(AttemptFactory, constraint, message=MessageFactory(), **fields)


def test_the_database_refuses_a_second_attempt_of_the_same_number():
    first = AttemptFactory(message=MessageFactory())

    refused(AttemptFactory, "one_attempt_per_message_and_number", message=first.message)


def test_a_late_result_is_kept_beside_the_attempt_of_its_number():
    first = AttemptFactory(message=MessageFactory())

    AttemptFactory(message=first.message, is_late=True)

    assert MessageDeliveryAttempt.objects.count() == 2


def test_the_database_refuses_the_same_event_of_a_provider_twice():
    first = ReceiptFactory()

    refused(ReceiptFactory, "each_receipt_counts_once", event_id=first.event_id)


def test_two_providers_may_name_their_events_alike():
    first = ReceiptFactory()

    ReceiptFactory(provider="VonageSMS", event_id=first.event_id)

    assert DeliveryReceipt.objects.count() == 2


@pytest.mark.parametrize("evidence", [AttemptFactory, ReceiptFactory])
def test_a_message_with_evidence_cannot_be_deleted(evidence):
    message = evidence(message=MessageFactory()).message

    with pytest.raises(ProtectedError):
        message.delete()


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        (
            {"max_retries": 3},
            "After 2 min, 4 min, 8 min: the last try is 14 min after the first.",
        ),
        (
            {"max_retries": 3, "max_retry_delay_seconds": 200},
            "After 2 min, 200 s, 200 s: the last try is 520 s after the first.",
        ),
        (
            {"max_retries": 3, "retry_strategy": RetryStrategy.LINEAR},
            "After 1 min, 2 min, 3 min: the last try is 6 min after the first.",
        ),
        (
            {"max_retries": 12, "max_retry_delay_seconds": 60},
            f"After {', '.join(['1 min'] * 10)}, ...: the last try is 12 min after the "
            "first.",
        ),
        ({"max_retries": 0}, "Not tried again."),
        ({"retry_strategy": RetryStrategy.NONE}, "Not tried again."),
        (
            {"initial_retry_delay_seconds": 0, "max_retries": 1},
            "After 0 s: the last try is 0 s after the first.",
        ),
        (
            {
                "retry_strategy": RetryStrategy.CUSTOM,
                "custom_retry_policy": f"{HERE}.stop_at_once",
            },
            f"As {HERE}.stop_at_once decides.",
        ),
    ],
)
def test_a_route_says_when_it_tries_again(fields, times):
    usual = {"initial_retry_delay_seconds": 60, "max_retry_delay_seconds": 3600}

    assert RouteFactory.build(**usual | fields).retry_times == times
