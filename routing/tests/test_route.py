"""Which of several routes a message takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from routing.decision.planner import active_routes
from routing.factories import RouteFactory
from routing.rules.retry import no_retry
from routing.rules.route import Destination, Route, Scope, choose_route
from routing.vocabulary import (
    CampaignKind,
    Channel,
    RoutingStrategy,
    UnknownOutcomePolicy,
)

EVERYWHERE = Route(
    config_id=1,
    channel=Channel.SMS,
    strategy=RoutingStrategy.PRIMARY,
    providers=("A",),
    is_fallback_enabled=False,
    max_retries=0,
    retry_policy=no_retry,
    unknown_outcome_policy=UnknownOutcomePolicy.WAIT,
)
BERLIN = Destination(Channel.SMS, "+493012345678", "DE", CampaignKind.TRANSACTIONAL)


def scoped(config_id, *, priority=1, **scope):
    return replace(
        EVERYWHERE, config_id=config_id, priority=priority, scope=Scope(**scope)
    )


def chosen(*routes, destination=BERLIN):
    found = {choose_route(order, destination) for order in permutations(routes)}
    assert len(found) == 1, "the order of the routes must not matter"
    return found.pop()


def test_the_most_specific_route_wins_whatever_the_priorities():
    by_kind = scoped(2, campaign_kind=CampaignKind.TRANSACTIONAL, priority=9)
    by_country = scoped(3, country="DE", priority=5)
    by_prefix = scoped(4, dial_prefix="4930", priority=1)

    assert chosen(EVERYWHERE, by_kind) == by_kind
    assert chosen(EVERYWHERE, by_kind, by_country) == by_country
    assert chosen(EVERYWHERE, by_kind, by_country, by_prefix) == by_prefix


def test_a_longer_dial_prefix_is_more_specific():
    assert (
        chosen(scoped(2, dial_prefix="49"), scoped(3, dial_prefix="4930")).config_id
        == 3
    )


def test_of_equally_specific_routes_the_highest_priority_serves():
    assert chosen(EVERYWHERE, scoped(2, priority=7)).config_id == 2


@pytest.mark.parametrize(
    "scope",
    [
        {"country": "FR"},
        {"dial_prefix": "33"},
        {"campaign_kind": CampaignKind.MARKETING},
        {"country": "DE", "dial_prefix": "4940"},
    ],
)
def test_a_route_of_another_scope_does_not_serve(scope):
    assert choose_route([scoped(2, **scope)], BERLIN) is None


def test_a_route_of_another_channel_does_not_serve():
    assert choose_route([replace(EVERYWHERE, channel=Channel.MMS)], BERLIN) is None


@given(
    country=st.sampled_from(["", "DE", "FR"]),
    prefix=st.sampled_from(["", "4", "49", "4930", "33"]),
    kind=st.sampled_from([None, *CampaignKind]),
)
def test_a_scoped_route_serves_exactly_the_messages_in_its_scope(country, prefix, kind):
    route = scoped(
        2, priority=2, country=country, dial_prefix=prefix, campaign_kind=kind
    )
    covers = (
        country in ("", "DE")
        and BERLIN.recipient.startswith(f"+{prefix}")
        and kind in (None, CampaignKind.TRANSACTIONAL)
    )

    assert chosen(EVERYWHERE, route) == (route if covers else EVERYWHERE)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [None, CampaignKind.MARKETING])
def test_two_active_routes_of_one_scope_and_priority_are_refused(kind):
    RouteFactory(country="DE", campaign_kind=kind, priority=3)
    twin = RouteFactory.build(country="DE", campaign_kind=kind, priority=3)

    with pytest.raises(ValidationError, match="has this scope and priority"):
        twin.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


@pytest.mark.django_db
def test_routes_of_different_scopes_may_share_a_priority():
    RouteFactory(priority=3)
    RouteFactory(priority=3, country="DE")
    RouteFactory(priority=3, country="DE", campaign_kind=CampaignKind.MARKETING)

    assert len(active_routes()) == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"country": "DE", "dial_prefix": "33"}, "No number in DE starts with +33."),
        ({"country": "Germany"}, "Two letters"),
        ({"country": "de"}, "Two letters"),
        ({"dial_prefix": "+49"}, "Digits only"),
        (
            {
                "channel": Channel.EMAIL,
                "primary_provider": "SendGridEmail",
                "fallback_provider": "SMTPEmail",
                "country": "DE",
            },
            "E-mail addresses have neither",
        ),
    ],
)
def test_a_scope_that_no_message_can_be_in_is_refused(fields, says):
    with pytest.raises(ValidationError) as error:
        RouteFactory.build(**fields).full_clean()

    assert says in str(error.value)
