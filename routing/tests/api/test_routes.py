"""Routes over REST: /api/routingconfig."""

from __future__ import annotations

import sys
from datetime import timedelta
from decimal import Decimal

import pytest

from routing.factories import RouteFactory
from routing.models import ChannelRoutingConfig, FurtherProvider
from routing.vocabulary import Channel, RetryStrategy

pytestmark = pytest.mark.django_db

ROUTES = "/api/routingconfig"
# Copied from the documents.
EXAMPLE = {
    "channel": 0,
    "primaryProvider": "TwilioSMS",
    "fallbackProvider": "VonageSMS",
    "enableFallback": True,
    "maxRetries": 3,
    "retryStrategy": 2,
    "initialRetryDelaySeconds": 60,
    "maxRetryDelaySeconds": 3600,
    "isActive": True,
    "priority": 1,
}
# The defaults of a route.
DEFAULTS = {
    "furtherProviders": [],
    "routingStrategy": 0,
    "primaryWeight": 1,
    "fallbackWeight": 1,
    "customRetryPolicy": "",
    "unknownOutcomePolicy": 0,
    "country": "",
    "dialPrefix": "",
    "campaignKind": None,
    "maximumCost": None,
    "currency": "USD",
    "minimumQuality": None,
}
THREE_PROVIDERS = {
    name: {"BACKEND": "routing.providers.memory.MemorySMS"} for name in ("A", "B", "C")
}


def stop_at_once(history):
    """A custom retry policy."""


@pytest.fixture(autouse=True)
def policies(settings):
    """The providers and policies that routes may use."""
    settings.RETRY_POLICIES = [f"{__name__}.stop_at_once"]


@pytest.fixture
def admin(api):
    return api("admin")


@pytest.fixture
def three_providers(settings):
    settings.MESSAGE_PROVIDERS = THREE_PROVIDERS


def refusals(answer):
    """field -> (code, detail) of a refusal."""
    assert answer.status_code == 400, answer.data
    return {
        each["field"]: (each["code"], each["detail"])
        for each in answer.json()["errors"]
    }


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_documented_example_is_answered_with_the_whole_route(admin, slash):
    answer = admin.post(f"{ROUTES}{slash}", EXAMPLE)

    made = answer.json()
    assert answer.status_code == 201
    assert answer["Location"] == f"{ROUTES}/{made['id']}"
    assert made.pop("createdAt").endswith("Z")
    assert made.pop("updatedAt").endswith("Z")
    assert made == {"id": made["id"]} | EXAMPLE | DEFAULTS
    assert ChannelRoutingConfig.objects.get().as_route().providers == (
        "TwilioSMS",
        "VonageSMS",
    )


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_route_is_read_changed_and_deleted_at_its_address(admin, slash):
    address = f"{ROUTES}/{RouteFactory(priority=1).pk}{slash}"

    assert admin.get(address).json()["primaryProvider"] == "TwilioSMS"
    assert admin.put(address, EXAMPLE | {"maxRetries": 5}).json()["maxRetries"] == 5
    assert admin.patch(address, {"isActive": False}).json()["isActive"] is False
    assert admin.delete(address).status_code == 204
    assert admin.get(address).status_code == 404


def test_all_routes_are_listed_with_the_first_choice_of_a_channel_first(admin):
    low, high = RouteFactory(priority=1), RouteFactory(priority=9)
    mms = RouteFactory(channel=Channel.MMS, primary_provider="TwilioMMS")

    shown = [each["id"] for each in admin.get(ROUTES).json()]

    assert shown == [high.pk, low.pk, mms.pk]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_routes_of_one_channel_are_listed(admin, slash):
    ours, _ = RouteFactory(), RouteFactory(channel=Channel.MMS)

    (shown,) = admin.get(f"{ROUTES}/channel/0{slash}").json()

    assert shown["id"] == ours.pk


@pytest.mark.parametrize("channel", ["9", "SMS", "-1"])
def test_a_channel_that_does_not_exist_lists_those_that_do(admin, channel):
    answer = admin.get(f"{ROUTES}/channel/{channel}")

    assert refusals(answer) == {
        "channel": ("invalid_choice", "Choose one of: 0 (SMS), 1 (MMS), 2 (Email).")
    }


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("channel=0", True),
        ("channel=2", False),
        ("isActive=false", False),
        ("primaryProvider=TwilioSMS&country=DE", True),
        ("fallbackProvider=Nobody", False),
        ("routingStrategy=0", True),
        ("campaignKind=1", False),
    ],
)
def test_routes_are_filtered(admin, query, finds):
    RouteFactory(country="DE")

    assert bool(admin.get(f"{ROUTES}?{query}").json()) is finds


@pytest.mark.parametrize("query", ["chanel=0", "channel=SMS", "page=2"])
def test_a_filter_that_cannot_be_meant_is_refused(admin, query):
    assert query.partition("=")[0] in refusals(admin.get(f"{ROUTES}?{query}"))


@pytest.mark.parametrize(
    ("changes", "field", "code", "says"),
    [
        (
            {"primaryProvider": "Nobody"},
            "primaryProvider",
            "invalid",
            "Unknown provider 'Nobody'. MESSAGE_PROVIDERS has: TwilioSMS, ",
        ),
        (
            {"primaryProvider": "TwilioMMS"},
            "primaryProvider",
            "invalid",
            "TwilioMMS does not carry SMS. Those that do: TwilioSMS, Vonage",
        ),
        (
            {"fallbackProvider": "Nobody"},
            "fallbackProvider",
            "invalid",
            "Unknown provider 'Nobody'.",
        ),
        (
            {"fallbackProvider": "TwilioSMS"},
            "fallbackProvider",
            "fallback_is_primary",
            "The fallback provider is the primary one",
        ),
        (
            {"fallbackProvider": ""},
            "fallbackProvider",
            "fallback_missing",
            "Fallback is enabled: choose the provider",
        ),
        (
            {"initialRetryDelaySeconds": -1},
            "initialRetryDelaySeconds",
            "min_value",
            "greater than or equal to 0",
        ),
        (
            {"maxRetryDelaySeconds": -1},
            "maxRetryDelaySeconds",
            "min_value",
            "greater than or equal to 0",
        ),
        (
            {"maxRetryDelaySeconds": 59},
            "maxRetryDelaySeconds",
            "maximum_below_initial",
            "The maximum retry delay is below the initial one.",
        ),
        (
            {"maxRetryDelaySeconds": 10**12},
            "maxRetryDelaySeconds",
            "max_value",
            "less than or equal to 2592000",
        ),
        ({"maxRetries": -1}, "maxRetries", "min_value", "or equal to 0"),
        ({"maxRetries": 101}, "maxRetries", "max_value", "or equal to 100"),
        ({"priority": 2**31}, "priority", "max_value", "2147483647"),
        ({"maximumCost": "-0.01"}, "maximumCost", "min_value", "or equal to 0"),
        ({"minimumQuality": 1.1}, "minimumQuality", "max_value", "or equal to 1"),
        ({"currency": "dollar"}, "currency", "max_length", "no more than 3"),
        ({"country": "de"}, "country", "invalid", "Two letters, such as DE"),
        ({"dialPrefix": "+49"}, "dialPrefix", "invalid", "Digits only"),
        (
            {"country": "DE", "dialPrefix": "44"},
            "dialPrefix",
            "invalid",
            "No number in DE starts with +44.",
        ),
        ({"channel": 9}, "channel", "invalid_choice", "0 (SMS), 1 (MMS), 2 (Email)"),
        ({"channel": None}, "channel", "null", "may not be null"),
        (
            {"retryStrategy": 99},
            "retryStrategy",
            "invalid_choice",
            "0 (None), 1 (Linear), 2 (Exponential), 3 (Custom)",
        ),
        ({"routingStrategy": 99}, "routingStrategy", "invalid_choice", "0 (Primary), "),
        (
            {"retryStrategy": 3},
            "customRetryPolicy",
            "policy_and_strategy",
            "takes the dotted path",
        ),
        (
            {"retryStrategy": 3, "customRetryPolicy": "routing.gone"},
            "customRetryPolicy",
            "invalid",
            "not in the setting RETRY_POLICIES",
        ),
        ({"retries": 3}, "retries", "unknown", "Allowed: campaignKind, channel,"),
        ({"enableFallback": "yes"}, "enableFallback", "type", "true or false"),
        (
            {"furtherProviders": [{"provider": "TwilioSMS"}]},
            "furtherProviders[0].provider",
            "invalid",
            "TwilioSMS is already in this route.",
        ),
        (
            {"furtherProviders": [{"provider": "Nobody"}]},
            "furtherProviders[0].provider",
            "invalid",
            "Unknown provider 'Nobody'.",
        ),
        (
            {"furtherProviders": [{"name": "VonageSMS"}]},
            "furtherProviders[0].name",
            "unknown",
            "Allowed: provider, weight.",
        ),
    ],
)
def test_a_mistake_is_named_with_its_field_and_what_is_allowed(
    admin, changes, field, code, says
):
    found, detail = refusals(admin.post(ROUTES, EXAMPLE | changes))[field]

    assert (found, says in detail) == (code, True), detail
    assert not ChannelRoutingConfig.objects.exists()


def test_what_is_required_is_said(admin):
    said = refusals(admin.post(ROUTES, {}))

    assert said == {
        "channel": ("required", "This field is required."),
        "primaryProvider": ("required", "This field is required."),
    }


def test_a_scope_and_priority_is_taken_once(admin):
    RouteFactory(priority=1)

    code, detail = refusals(admin.post(ROUTES, EXAMPLE))["priority"]

    assert code == "priority_taken"
    assert "choose another, or deactivate the other route" in detail
    assert admin.post(ROUTES, EXAMPLE | {"country": "DE"}).status_code == 201


def test_a_route_may_keep_its_own_priority(admin):
    route = RouteFactory(priority=1)

    assert admin.put(f"{ROUTES}/{route.pk}", EXAMPLE).status_code == 200


def test_a_change_is_held_against_what_the_route_has_already(admin):
    route = RouteFactory(max_retry_delay_seconds=600)

    answer = admin.patch(f"{ROUTES}/{route.pk}", {"initialRetryDelaySeconds": 601})

    assert "maxRetryDelaySeconds" in refusals(answer)
    route.refresh_from_db()
    assert route.initial_retry_delay_seconds == 60


def test_what_a_put_leaves_out_stays(admin):
    route = RouteFactory(country="DE", maximum_cost=Decimal("0.1"))

    changed = admin.put(f"{ROUTES}/{route.pk}", EXAMPLE).json()

    assert (changed["country"], changed["maximumCost"]) == ("DE", "0.100000")


def test_a_route_may_be_sent_back_as_it_was_read(admin):
    address = f"{ROUTES}/{RouteFactory().pk}"
    read = admin.get(address).json()

    answer = admin.put(address, read)

    assert answer.status_code == 200
    assert answer.json() == read | {"updatedAt": answer.json()["updatedAt"]}


@pytest.mark.usefixtures("three_providers")
def test_further_providers_are_kept_in_order_and_replaced_as_a_whole(admin):
    body = {"channel": 0, "primaryProvider": "A", "enableFallback": False}
    further = [{"provider": "C", "weight": 3}, {"provider": "B"}]
    made = admin.post(ROUTES, body | {"furtherProviders": further}).json()

    assert made["furtherProviders"][0] == {"provider": "C", "weight": 3}
    assert ChannelRoutingConfig.objects.get().providers == ("A", "C", "B")

    address = f"{ROUTES}/{made['id']}"
    changed = admin.patch(address, {"furtherProviders": [{"provider": "B"}]})
    assert changed.json()["furtherProviders"] == [{"provider": "B", "weight": 1}]
    assert admin.get(address).json() == changed.json()


@pytest.mark.usefixtures("three_providers")
def test_a_further_provider_comes_once(admin):
    body = {"channel": 0, "primaryProvider": "A", "enableFallback": False}
    twice = [{"provider": "B"}, {"provider": "B"}]

    said = refusals(admin.post(ROUTES, body | {"furtherProviders": twice}))

    assert said == {
        "furtherProviders[1].provider": ("twice", "B is already in this list.")
    }


@pytest.mark.usefixtures("three_providers")
def test_a_further_provider_cannot_become_the_first_as_well(admin):
    route = RouteFactory(primary_provider="A", fallback_provider="B")
    FurtherProvider.objects.create(route=route, provider="C")

    answer = admin.patch(f"{ROUTES}/{route.pk}", {"primaryProvider": "C"})

    assert "furtherProviders[0].provider" in refusals(answer)


def test_a_retry_policy_that_is_not_listed_is_not_even_imported(admin):
    custom = {"retryStrategy": 3, "customRetryPolicy": "this.s"}  # prints a poem

    answer = admin.post(ROUTES, EXAMPLE | custom)

    _, detail = refusals(answer)["customRetryPolicy"]
    assert f"which lists: {__name__}.stop_at_once." in detail
    assert "this" not in sys.modules


def test_a_custom_retry_policy_is_taken_by_its_path(admin):
    path = f"{__name__}.stop_at_once"
    custom = {"retryStrategy": RetryStrategy.CUSTOM, "customRetryPolicy": path}

    assert admin.post(ROUTES, EXAMPLE | custom).status_code == 201
    assert ChannelRoutingConfig.objects.get().retry_policy.policy is stop_at_once


def test_delays_are_seconds(admin):
    admin.post(ROUTES, EXAMPLE)

    policy = ChannelRoutingConfig.objects.get().retry_policy
    assert (policy.initial, policy.maximum) == (
        timedelta(minutes=1),
        timedelta(hours=1),
    )


@pytest.mark.parametrize("scope", ["read", "send"])
def test_routes_need_an_administrator(api, scope):
    address = f"{ROUTES}/{RouteFactory().pk}"

    assert api(scope).get(ROUTES).status_code == 403
    assert api(scope).delete(address).status_code == 403
    assert ChannelRoutingConfig.objects.exists()
