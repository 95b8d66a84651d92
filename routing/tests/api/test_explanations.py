"""Where a message would go, over REST: /api/routingconfig/explain."""

from __future__ import annotations

import pytest

from routing.factories import RouteFactory
from routing.vocabulary import CampaignKind

pytestmark = pytest.mark.django_db
TO_GERMANY = {"channel": 0, "to": "+4915112345678", "body": "Hello"}


@pytest.fixture(autouse=True)
def three_providers(settings):
    backend = {"BACKEND": "routing.providers.memory.MemorySMS"}
    settings.MESSAGE_PROVIDERS = dict.fromkeys(("A", "B", "C"), backend)


@pytest.fixture
def ask(api):
    """Explains a message, as an administrator."""
    admin = api("admin")
    return lambda body, slash="": admin.post(f"/api/routingconfig/explain{slash}", body)


def route(**fields):
    return RouteFactory(primary_provider="A", fallback_provider="B", **fields)


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_names_route_candidates_choice_and_reason(ask, slash):
    made = route(country="DE", campaign_kind=CampaignKind.MARKETING)

    answer = ask(TO_GERMANY, slash)

    explained = answer.json()
    assert answer.status_code == 200
    assert explained["route"] == {
        "id": made.pk,
        "channel": 0,
        "strategy": 0,
        "priority": made.priority,
        "scope": "DE, Marketing",
        "country": "DE",
        "dialPrefix": "",
        "campaignKind": 0,
        "isFallbackEnabled": True,
    }
    assert [each["provider"] for each in explained["candidates"]] == ["A", "B"]
    assert explained["candidates"][0] == {
        "provider": "A",
        "verdict": "eligible",
        "weight": 1,
        "price": None,
        "currency": None,
        "score": None,
        "evidence": 0.0,
        "breaker": "in use",
        "throttle": "none",
    }
    assert (explained["chosen"], explained["fallbackReason"]) == ("A", None)
    assert explained["why"] == "A is the choice of Primary."


def test_it_tells_kinds_of_campaigns_apart(ask):
    route()
    RouteFactory(primary_provider="C", fallback_provider="A", campaign_kind=1)

    assert ask(TO_GERMANY).json()["chosen"] == "A"
    assert ask(TO_GERMANY | {"campaignKind": 1}).json()["chosen"] == "C"


def test_a_message_that_no_route_covers_would_wait(ask):
    explained = ask(TO_GERMANY).json()

    assert (explained["route"], explained["chosen"]) == (None, None)
    assert explained["why"] == "No active route of SMS covers it."


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"to": "hello"}, "to", "'hello' is not a valid phone number"),
        ({"channel": 2, "to": "hello"}, "to", "'hello' is not an e-mail address."),
        ({"channel": 7}, "channel", "0 (SMS), 1 (MMS), 2 (Email)"),
        ({"campaignKind": 2}, "campaignKind", "0 (Marketing), 1 (Transactional)"),
        (
            {"text": "Hello"},
            "text",
            "Allowed: body, campaignKind, channel, mediaUrls, to.",
        ),
    ],
)
def test_what_it_cannot_read_is_named(ask, body, field, says):
    answer = ask(TO_GERMANY | body)

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (400, field)
    assert says in error["detail"]


def test_it_needs_an_administrator(api):
    assert api("send").post("/api/routingconfig/explain", {}).status_code == 403
