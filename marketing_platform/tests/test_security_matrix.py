"""Every URL of the web server, and who may use it.

A new URL needs a line in DOORS: an example address, and for each method the lowest
scope that may use it, or who else may.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest
from django.urls import URLResolver, get_resolver, resolve
from rest_framework.test import APIClient

from marketing_platform.provider_settings import simulated_providers
from messaging.factories import MessageFactory
from messaging.models import Campaign, CampaignMessage
from routing.factories import AttemptFactory, RouteFactory
from routing.vocabulary import Channel

pytestmark = pytest.mark.django_db

PUBLIC = "public"  # for all
SIGNED = "signed"  # for callers who sign the body, with or without a token
SCOPES = ["read", "send", "admin", "monitor"]
MAY = {  # by what an address needs: who may use it
    "read": {"read", "send", "admin"},
    "send": {"send", "admin"},
    "admin": {"admin"},
    "monitor": {"monitor", "admin"},
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

DOORS = {
    "/": {"GET": PUBLIC},  # redirects to the back office
    "/api/campaigns": {"GET": "read", "POST": "send"},
    "/api/campaigns/1": {"GET": "read"},
    "/api/campaigns/1/cancel": {"POST": "send"},
    "/api/campaigns/1/launch": {"POST": "send"},
    "/api/campaigns/1/pause": {"POST": "send"},
    "/api/campaigns/1/recipients": {"POST": "send"},
    "/api/campaigns/1/resume": {"POST": "send"},
    "/api/docs": {"GET": PUBLIC},
    "/api/messages": {"GET": "read", "POST": "send"},
    "/api/messages/1": {"GET": "read"},
    "/api/messages/1/cancel": {"POST": "send"},
    "/api/messages/1/retry": {"POST": "send"},
    "/api/providers": {"GET": "admin"},
    "/api/providers/TwilioSMS": {"GET": "admin"},
    "/api/providers/TwilioSMS/pause": {"POST": "admin"},
    "/api/providers/TwilioSMS/probe": {"POST": "admin"},
    "/api/providers/TwilioSMS/resume": {"POST": "admin"},
    "/api/schema": {"GET": PUBLIC},
    "/api/routingconfig": {"GET": "admin", "POST": "admin"},
    "/api/routingconfig/1": dict.fromkeys(["GET", "PUT", "PATCH", "DELETE"], "admin"),
    "/api/routingconfig/channel/0": {"GET": "admin"},
    "/api/routingconfig/delivery-attempts/1": {"GET": "read"},
    "/api/routingconfig/explain": {"POST": "admin"},
    "/api/routingconfig/retries": {"GET": "admin", "POST": "admin"},
    "/api/routingconfig/retries/1": dict.fromkeys(
        ["GET", "PUT", "PATCH", "DELETE"], "admin"
    ),
    "/api/routingconfig/stats/channel/0": {"GET": "monitor"},
    "/api/routingconfig/stats/overall": {"GET": "monitor"},
    "/metrics": {"GET": "monitor"},
    "/unsubscribe/forged/": {"GET": PUBLIC, "POST": PUBLIC},  # a secret address
    "/webhooks/TwilioSMS/": {"POST": SIGNED},
    "/webhooks/TwilioSMS/inbound/": {"POST": SIGNED},
}
# What a token limited to its user's own may use, and only for that.
OWN_DOORS = ("/api/campaigns", "/api/messages", "/api/routingconfig/delivery-attempts")
API_DOORS = [address for address in DOORS if address.startswith("/api/")]
ENTRIES = [
    (method, address, rule)
    for address, rules in DOORS.items()
    for method, rule in rules.items()
]
WITH_TOKEN = [entry for entry in ENTRIES if entry[2] not in (PUBLIC, SIGNED)]
# The credentials of a request: no token, an invalid one, or one with a scope.
NO_TOKENS = ["none", "bad", "expired", "session"]


def routes(patterns, before=""):
    """(whole route, pattern) of every view, except the back office's."""
    for pattern in patterns:
        route = str(pattern.pattern)
        whole = before + route.removeprefix("^") if before else route
        if not isinstance(pattern, URLResolver):
            yield whole, pattern
        elif pattern.app_name != "admin":
            yield from routes(pattern.url_patterns, whole)


def back_office():
    """The addresses of the back office without arguments."""
    (admin,) = (
        each
        for each in get_resolver().url_patterns
        if getattr(each, "app_name", None) == "admin"
    )
    for route, _ in routes(admin.url_patterns, "/admin/"):
        is_way_in_or_out = route in ("/admin/login/", "/admin/logout/")
        if not is_way_in_or_out and not {"<", "(", "^"} & set(route):
            yield route


@pytest.fixture
def call(token, django_user_model, settings):
    """The response to one request with these credentials."""
    settings.MESSAGE_PROVIDERS = simulated_providers(1, public_url="http://x")
    settings.API_BURST = 1000

    def call(method, address, credentials):
        client = APIClient()
        if credentials == "session":
            operator = {"is_staff": True, "is_superuser": True}
            client.force_login(django_user_model.objects.get_or_create(**operator)[0])
        elif credentials != "none":
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {text(credentials)}")
        return client.generic(method, address, "{}", content_type="application/json")

    def text(credentials):
        if credentials == "bad":
            return "mp_live_" + "x" * 43
        if credentials == "bound":
            return token("admin", own_only=True)
        if credentials == "expired":
            return token("admin", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        return token(credentials)

    return call


def test_every_route_has_a_line_in_the_table():
    listed = {resolve(address).route for address in DOORS}
    missing = [
        route for route, _ in routes(get_resolver().url_patterns) if route not in listed
    ]

    assert not missing, (
        f"Nobody said who may use {missing}. Add a line to DOORS in {__file__}: an "
        "address that the route answers, and for each of its methods the least scope "
        "(read, send, admin, monitor), PUBLIC or SIGNED. docs/api.md tells integrators."
    )


def test_every_method_of_an_endpoint_has_its_rule(subtests):
    for address in API_DOORS:
        actions = getattr(resolve(address).func, "actions", None) or {"get": "a page"}
        methods = {method.upper() for method in actions} - {"HEAD"}  # it follows GET
        missing = methods ^ set(DOORS[address])
        with subtests.test(address=address):
            assert not missing, (
                f"{address} and its line in DOORS differ in {sorted(missing)}: say for "
                "each method which scope it needs, or remove what is gone."
            )


def test_a_trailing_slash_leads_to_the_same_door():
    for address in API_DOORS:
        assert resolve(f"{address}/").route == resolve(address).route


@pytest.mark.parametrize("credentials", [*NO_TOKENS, *SCOPES])
def test_only_who_may_passes(call, credentials, subtests):
    for method, address, rule in ENTRIES:
        answer = call(method, address, credentials)
        with subtests.test(method=method, address=address):
            assert_passed_or_not(answer, rule, credentials)


def assert_passed_or_not(answer, rule, credentials):
    assert answer.status_code < 500
    if rule == PUBLIC:
        assert answer.status_code not in (401, 403)
    elif rule == SIGNED:
        assert answer.status_code == 403
    elif credentials not in SCOPES:
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    elif credentials not in MAY[rule]:
        assert answer.status_code == 403
    else:
        assert answer.status_code not in (401, 403)


def test_a_method_without_rule_is_not_there(call, subtests):
    for method, address in product([*METHODS, "OPTIONS"], API_DOORS):
        if method not in DOORS[address]:
            with subtests.test(method=method, address=address):
                assert call(method, address, "admin").status_code == 405


@pytest.mark.parametrize("credentials", ["none", "bad", "expired", *SCOPES])
def test_the_back_office_lets_nobody_in_without_a_session(call, credentials):
    for address in back_office():
        answer = call("GET", address, credentials)

        assert answer.status_code == 302, address
        assert answer["Location"].startswith("/admin/login/"), address


@pytest.mark.parametrize("entry", WITH_TOKEN, ids=lambda entry: " ".join(entry))
def test_a_token_for_its_users_own_sees_nothing_of_others(call, entry, somebody_elses):
    method, address, _ = entry
    before = [*CampaignMessage.objects.values(), *Campaign.objects.values()]

    answer = call(method, somebody_elses(address), "bound")

    if not address.startswith(OWN_DOORS):
        assert answer.status_code == 403
    elif "1" in address:
        assert answer.status_code == 404
    elif method == "GET":
        assert answer.json()["results"] == []
    assert [*CampaignMessage.objects.values(), *Campaign.objects.values()] == before


def test_a_token_for_its_users_own_sees_that(api, simulator):
    RouteFactory(channel=Channel.SMS)
    client = api("send", own_only=True)
    posted = client.post(
        "/api/messages", {"channel": 0, "to": "+14155552671", "body": "x"}
    )
    made = client.post("/api/campaigns", {"channel": 0, "name": "x", "body": "x"})
    campaign, message = made.json()["id"], posted.json()["id"]
    client.post(
        f"/api/campaigns/{campaign}/recipients",
        {"recipients": [{"to": "+14155552672"}]},
    )

    seen = client.get("/api/messages").json()["results"]
    assert [each["to"] for each in seen] == ["+14155552672", "+14155552671"]
    assert len(client.get("/api/campaigns").json()["results"]) == 1
    attempts = client.get(f"/api/routingconfig/delivery-attempts/{message}")
    assert (attempts.status_code, attempts.json()) == (200, [])
    assert client.post(f"/api/campaigns/{campaign}/cancel").status_code == 200
    assert len(api("read").get("/api/messages").json()["results"]) == 2


@pytest.fixture
def somebody_elses():
    """Makes an address refer to another user's rows."""
    message = MessageFactory(owner_id=10**9, campaign__owner_id=10**9)
    AttemptFactory(message=message)

    def lead(address):
        number = message.campaign_id if "campaigns" in address else message.pk
        return address.replace("/1", f"/{number}")

    return lead


def test_the_back_office_is_found():
    assert "/admin/routing/channelroutingconfig/" in set(back_office())
