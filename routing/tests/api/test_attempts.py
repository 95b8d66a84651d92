"""The attempts of a message: /api/routingconfig/delivery-attempts/{messageId}."""

from __future__ import annotations

from decimal import Decimal

import pytest

from messaging.factories import MessageFactory
from routing.factories import AttemptFactory
from routing.vocabulary import AttemptOutcome, ErrorClass, FallbackReason

pytestmark = pytest.mark.django_db


@pytest.fixture
def attempts_of(api):
    """The attempts, as read with a token."""
    reader = api("read")
    return lambda message_id, slash="": reader.get(
        f"/api/routingconfig/delivery-attempts/{message_id}{slash}"
    )


DECISION = {
    "route": 7,
    "strategy": "Round robin",
    "chosen": "VonageSMS",
    "fallback_reason": "Provider unavailable",
    "candidates": [
        {
            "provider": "VonageSMS",
            "verdict": "eligible",
            "weight": 1,
            "price": "0.085",
            "currency": "EUR",
            "score": 0.97,
            "evidence": 200.0,
        }
    ],
}


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_attempts_come_in_order(attempts_of, slash):
    message = MessageFactory()
    AttemptFactory(message=message, attempt_number=2, provider="VonageSMS")
    AttemptFactory(
        message=message,
        outcome=AttemptOutcome.REJECTED,
        error_class=ErrorClass.PROVIDER,
    )
    AttemptFactory(message=MessageFactory())

    shown = attempts_of(message.pk, slash).json()

    assert [each["attemptNumber"] for each in shown] == [1, 2]
    assert [each["provider"] for each in shown] == ["TwilioSMS", "VonageSMS"]
    assert {each["messageId"] for each in shown} == {message.pk}
    assert (shown[0]["outcome"], shown[0]["errorClass"]) == (2, 2)


def test_an_attempt_comes_with_cost_time_and_decision(attempts_of):
    message = MessageFactory()
    AttemptFactory(
        message=message,
        cost=Decimal("0.085"),
        currency="EUR",
        response_time_ms=120,
        fallback_reason=FallbackReason.PROVIDER_UNAVAILABLE,
        decision=DECISION,
    )

    (shown,) = attempts_of(message.pk).json()

    assert (shown["cost"], shown["currency"]) == ("0.085000", "EUR")
    assert (shown["responseTimeMs"], shown["fallbackReason"]) == (120, 1)
    assert shown["decision"] == {
        "route": 7,
        "strategy": 2,
        "chosen": "VonageSMS",
        "fallbackReason": 1,
        "candidates": DECISION["candidates"],
        "callId": None,
        "sharedWith": 0,
        "recovered": False,
    }


def test_an_attempt_that_recovery_wrote_has_no_candidates(attempts_of):
    message = MessageFactory()
    decision = {"chosen": "TwilioSMS", "recovered": True}
    AttemptFactory(message=message, decision=decision)

    (shown,) = attempts_of(message.pk).json()

    assert shown["decision"]["recovered"] is True
    assert shown["decision"]["candidates"] == []
    assert shown["decision"]["route"] is None


def test_a_message_that_was_not_sent_yet_has_no_attempts(attempts_of):
    answer = attempts_of(MessageFactory().pk)

    assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize("unknown", ["1", "9" * 30, "abc"])
def test_an_unknown_message_is_not_found(attempts_of, unknown):
    answer = attempts_of(unknown)

    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
