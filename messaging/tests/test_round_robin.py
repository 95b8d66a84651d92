"""A RoundRobin route divides its messages exactly, whichever worker claims them."""

from __future__ import annotations

from collections import Counter

import pytest

from messaging.tests.scenario import NOW, claim, claimer, messages
from routing.factories import RouteFactory
from routing.models import FurtherProvider
from routing.vocabulary import FallbackReason, RoutingStrategy


@pytest.fixture
def shares(db, settings):
    """A route that gives A five shares, B two and C one."""
    settings.MESSAGE_PROVIDERS = {
        name: {"BACKEND": "routing.providers.memory.MemorySMS"} for name in "ABC"
    }
    route = RouteFactory(
        routing_strategy=RoutingStrategy.ROUND_ROBIN,
        primary_provider="A",
        primary_weight=5,
        fallback_provider="B",
        fallback_weight=2,
    )
    FurtherProvider.objects.create(route=route, provider="C", weight=1)
    return route


def providers(claimed):
    return Counter(each.decision.provider for each in claimed)


def test_each_provider_gets_exactly_its_share(shares):
    messages(24)

    assert providers(claim()) == {"A": 15, "B": 6, "C": 3}


def test_two_workers_share_one_sequence(shares):
    messages(48)
    workers = [claimer(1), claimer(2)]
    claimed = []

    for number in range(16):
        claimed += workers[number % 2].claim(limit=3, now=NOW).claimed

    assert providers(claimed) == {"A": 30, "B": 12, "C": 6}


def test_the_share_of_a_provider_that_is_gone_goes_to_the_others_as_fallbacks(
    shares, settings
):
    settings.MESSAGE_PROVIDERS = {
        name: settings.MESSAGE_PROVIDERS[name] for name in "BC"
    }
    messages(8)

    claimed = claim()

    assert set(providers(claimed)) == {"B", "C"}
    reasons = Counter(each.decision.fallback_reason for each in claimed)
    assert reasons == {FallbackReason.PROVIDER_UNAVAILABLE: 5, None: 3}
