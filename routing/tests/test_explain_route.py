"""manage.py explain_route: which provider a message would go to, and why."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from messaging.factories import MessageFactory
from routing.decision.explain import rate_in_words
from routing.factories import AttemptFactory, RouteFactory, retry_rule
from routing.models import (
    FurtherProvider,
    ProviderHealth,
    ProviderThrottle,
    Rate,
    RetryRule,
    RouteTurn,
)
from routing.rules.breaker import BreakerState
from routing.vocabulary import CampaignKind, Channel, ErrorClass, RoutingStrategy

pytestmark = pytest.mark.django_db
PROVIDERS = {
    name: {"BACKEND": "routing.providers.memory.MemorySMS"} for name in ("A", "B", "C")
}


@pytest.fixture(autouse=True)
def three_providers(settings):
    settings.MESSAGE_PROVIDERS = PROVIDERS


def route(**fields):
    """A route by A, then B, then C."""
    made = RouteFactory(primary_provider="A", fallback_provider="B", **fields)
    FurtherProvider.objects.create(route=made, provider="C", position=3)
    return made


def price(provider, amount, currency="USD", **fields):
    fields = {"dial_prefix": "49", "country": "DE"} | fields
    Rate.objects.create(
        provider=provider,
        channel=Channel.SMS,
        price=Decimal(amount),
        currency=currency,
        valid_from=date(2026, 1, 1),
        **fields,
    )


@pytest.mark.parametrize("channel", ["sms", "email"])
def test_it_shows_when_what_may_pass_is_tried_again(capsys, channel, settings):
    settings.MESSAGE_PROVIDERS = PROVIDERS | {
        "M": {"BACKEND": "routing.providers.memory.MemoryEmail"}
    }
    route()
    RouteFactory(
        channel=Channel.EMAIL,
        primary_provider="M",
        enable_fallback=False,
        fallback_provider="",
    )
    RetryRule.objects.all().delete()
    retry_rule(900, 3600)
    retry_rule(21_600, error_class=ErrorClass.MAILBOX_FULL)
    to = {"sms": "+4915112345678", "email": "ada@example.com"}[channel]

    call_command("explain_route", f"--channel={channel}", f"--to={to}")

    rule = {"sms": "handset off: 15 min, 1 h", "email": "mailbox full: 6 h"}[channel]
    assert f"Tried again after {rule}\n" in capsys.readouterr().out


def explained(capsys, *options, to="+4915112345678"):
    call_command("explain_route", "--channel=sms", f"--to={to}", "--json", *options)
    return json.loads(capsys.readouterr().out)


def test_it_names_route_candidates_choice_and_reason(capsys):
    made = route()

    explanation = explained(capsys)

    assert explanation["country"] == "DE"
    assert explanation["route"]["id"] == made.pk
    assert [each["provider"] for each in explanation["candidates"]] == ["A", "B", "C"]
    assert explanation["chosen"] == "A"
    assert explanation["why"] == "A is the choice of Primary."


def test_it_takes_the_most_specific_route(capsys):
    route()
    german = RouteFactory(country="DE", primary_provider="B", fallback_provider="A")

    assert explained(capsys)["route"]["id"] == german.pk
    assert explained(capsys, to="+14155550100")["chosen"] == "A"


def test_it_tells_kinds_of_campaigns_apart(capsys):
    route()
    RouteFactory(
        campaign_kind=CampaignKind.TRANSACTIONAL,
        primary_provider="B",
        fallback_provider="A",
    )

    assert explained(capsys)["chosen"] == "A"
    assert explained(capsys, "--kind=transactional")["chosen"] == "B"


def test_least_cost_takes_the_cheapest_known_price_of_the_whole_text(capsys):
    route(routing_strategy=RoutingStrategy.LEAST_COST)
    price("A", "0.09")
    price("C", "0.07")

    explanation = explained(capsys, f"--body={'x' * 161}")

    assert explanation["chosen"] == "C"
    assert explanation["segments"] == 2
    assert [each["price"] for each in explanation["candidates"]] == [
        "0.18",
        None,
        "0.14",
    ]


def test_a_price_in_another_currency_is_unknown_and_never_wins(capsys):
    route(routing_strategy=RoutingStrategy.LEAST_COST)
    price("A", "0.09")
    price("B", "0.01", currency="EUR")

    assert explained(capsys)["chosen"] == "A"


def test_a_provider_above_the_maximum_cost_is_passed_over_and_says_why(capsys):
    route(maximum_cost=Decimal("0.05"))
    price("A", "0.09")
    price("B", "0.04")

    explanation = explained(capsys)

    assert explanation["chosen"] == "B"
    assert explanation["fallback_reason"] == "Cost threshold"
    assert "above the maximum" in explanation["candidates"][0]["verdict"]


def test_a_provider_that_is_not_there_is_passed_over_and_says_why(capsys, settings):
    route()
    settings.MESSAGE_PROVIDERS = {name: PROVIDERS[name] for name in ("B", "C")}

    explanation = explained(capsys)

    assert explanation["chosen"] == "B"
    assert explanation["fallback_reason"] == "Provider unavailable"


MMS_PROVIDERS = {
    "VonageMMS": {
        "BACKEND": "routing.providers.vonage_messages.VonageMMS",
        "OPTIONS": dict.fromkeys(("API_KEY", "API_SECRET", "FROM", "BASE_URL"), "x"),
    },
    "TwilioMMS": {
        "BACKEND": "routing.providers.twilio.TwilioMMS",
        "OPTIONS": dict.fromkeys(
            ("ACCOUNT_SID", "AUTH_TOKEN", "FROM", "BASE_URL"), "x"
        ),
    },
}
MEDIA = [f"--media=https://e.com/{name}.jpg" for name in "ab"]


@pytest.mark.parametrize(
    ("media", "chosen", "why"),
    [
        (MEDIA, "TwilioMMS", "fallback"),
        (MEDIA[:1], "VonageMMS", "choice"),
        ([], "VonageMMS", "choice"),  # its media are unknown
        (MEDIA * 6, None, "No provider of the route can carry it"),
    ],
)
def test_it_shows_who_cannot_carry_the_message(capsys, settings, media, chosen, why):
    settings.MESSAGE_PROVIDERS = MMS_PROVIDERS
    RouteFactory(
        channel=Channel.MMS,
        primary_provider="VonageMMS",
        fallback_provider="TwilioMMS",
    )
    command = ["explain_route", "--channel=mms", "--to=+14155550111", "--json"]

    call_command(*command, "--body=Hello", *media)

    found = json.loads(capsys.readouterr().out)
    assert (found["chosen"], why in found["why"]) == (chosen, True)
    carries_one = "carries exactly one" in found["candidates"][0]["verdict"]
    assert carries_one == (len(media) > 1)


def test_it_passes_over_a_provider_that_is_not_used_for_the_country(capsys, settings):
    elsewhere = PROVIDERS["A"] | {"OPTIONS": {"COUNTRIES": "us, CA"}}
    settings.MESSAGE_PROVIDERS = PROVIDERS | {"A": elsewhere}
    route()

    found = explained(capsys, "--body=Hello")

    assert found["chosen"] == "B"
    assert found["candidates"][0]["verdict"] == "it is not used for DE"


def test_round_robin_explains_the_next_turn_and_takes_none(capsys):
    route(routing_strategy=RoutingStrategy.ROUND_ROBIN)

    first, second = explained(capsys), explained(capsys)

    assert first["chosen"] == second["chosen"] == "A"
    assert not RouteTurn.objects.exists()


def test_a_message_that_no_route_covers_would_wait(capsys):
    explanation = explained(capsys)

    assert (explanation["route"], explanation["chosen"]) == (None, None)
    assert explanation["why"] == "No active route of SMS covers it."


def test_it_prints_a_table_for_people(capsys):
    route()
    price("A", "0.09")

    call_command("explain_route", "--channel=sms", "--to=+4915112345678")

    printed = capsys.readouterr().out
    assert "To +4915112345678 (DE), segments: 1" in printed
    assert "0.09 USD" in printed
    assert "A is the choice of Primary." in printed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--channel=fax", "--to=+49"], "Unknown channel 'fax'. Known: sms, mms"),
        (["--channel=sms", "--to=hello"], "'hello' is not a valid phone number"),
        (["--channel=sms", "--to=+49 0151 12345678"], "if you mean +4915112345678"),
        (["--channel=sms", "--to=+19005551234"], "No message goes to +19005551234"),
        (["--channel=email", "--to=hello"], "'hello' is not an e-mail address."),
        (
            ["--channel=sms", "--to=+4915112345678", "--kind=spam"],
            "Unknown kind 'spam'.",
        ),
    ],
)
def test_what_it_cannot_read_gets_one_clear_line(options, says):
    with pytest.raises(CommandError) as error:
        call_command("explain_route", *options)

    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_it_shows_breakers_and_throttles(capsys):
    route()
    ProviderHealth.objects.create(
        provider="A",
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        open_until=timezone.now() + timedelta(minutes=1),
        reason="5 failures in a row",
    )
    ProviderThrottle.objects.create(provider="B", rate_per_second=20, burst=5)

    explanation = explained(capsys)

    breakers = [each["breaker"] for each in explanation["candidates"]]
    assert breakers[0].startswith("out of use until")
    assert breakers[1:] == ["in use", "in use"]
    throttles = [each["throttle"] for each in explanation["candidates"]]
    assert throttles == ["none", "20 messages/s, 5 available now", "none"]
    assert explanation["chosen"] == "B"


def test_when_no_provider_may_be_used_it_says_why_the_last_error_and_the_next_try(
    capsys,
):
    for provider in ("A", "B", "C"):
        ProviderHealth.objects.create(
            provider=provider,
            channel=Channel.SMS,
            state=BreakerState.OPEN,
            open_until=timezone.now() + timedelta(minutes=1),
            reason="the provider refuses our account",
        )
    route()
    AttemptFactory(
        message=MessageFactory(),
        provider="A",
        attempted_at=timezone.now(),
        error_class=ErrorClass.ACCOUNT,
        error_code="20003",
        error_message="Authenticate",
    )

    why = explained(capsys)["why"]

    assert "the message waits. A: out of use until " in why
    assert "refuses our account) (last error: Account 20003: Authenticate). B: " in why
    assert re.search(r"Next try \d\d:\d\d:\d\d UTC\.$", why)


def test_it_passes_over_a_provider_whose_rate_is_used_up(capsys):
    route(routing_strategy=RoutingStrategy.FALLBACK)
    ProviderThrottle.objects.create(
        provider="A", rate_per_second=1, tat=timezone.now() + timedelta(hours=1)
    )

    explanation = explained(capsys)

    assert (explanation["chosen"], explanation["fallback_reason"]) == (
        "B",
        "Rate limit exceeded",
    )


@pytest.mark.parametrize(
    ("score", "evidence", "says"),
    [
        (None, 0.0, "unknown"),
        (0.9, 0.2, "90 % expected, no receipts yet"),
        (0.9, 1.4, "90 % of about 1 message"),
        (0.9437, 4.9, "94 % of about 5 messages"),
        (0.9876, 412.3, "98.8 % of about 412 messages"),
    ],
)
def test_a_delivery_rate_is_told_in_words(score, evidence, says):
    assert rate_in_words({"score": score, "evidence": evidence}) == says
