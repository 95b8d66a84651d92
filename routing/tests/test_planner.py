"""The routes as workers read them; what rules a provider out, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from routing.decision.planner import ProviderSnapshot, RoutingTable, active_routes
from routing.decision.request import RoutingRequest
from routing.factories import RouteFactory
from routing.health.breakers import ChannelHealth
from routing.health.throttles import Capacity
from routing.models import ChannelRoutingConfig, ProviderThrottle
from routing.rules.breaker import Breaker, BreakerState
from routing.rules.route import Destination
from routing.strategies import Verdict
from routing.tests.test_decide import NOW, ROUTE, SECOND
from routing.vocabulary import Channel, FallbackReason, RetryStrategy

ADA = Destination(Channel.SMS, "+14155550101")
TO_ADA = RoutingRequest(ADA, segments=1)
RETRY = TO_ADA._replace(is_retry=True)
TURNED_AWAY = 0.9  # a draw for which a provider with reduced traffic is not used

OPEN = Breaker(BreakerState.OPEN, reason="5 failures in a row", open_until=NOW)
RAMPING = Breaker(closed_at=NOW)
# Theirs may be used once in four seconds, and has just been used.
BUSY = {"rate_per_second": 0.25, "tat": NOW + 4 * SECOND}
THROTTLED = Verdict(
    "its rate of 0.25/s is used up",
    FallbackReason.RATE_LIMIT_EXCEEDED,
    until=NOW + 4 * SECOND,
)
NO_BUDGET = Verdict("its retry budget is used up", until=NOW + 2 * SECOND)


@pytest.fixture(autouse=True)
def backends(settings):
    """`Ours` and `Theirs` are in use; `Idle` lacks its account."""
    memory = {"BACKEND": "routing.providers.memory.MemorySMS"}
    idle = {"BACKEND": "routing.providers.twilio.TwilioSMS"}
    settings.MESSAGE_PROVIDERS = {"Ours": memory, "Theirs": memory, "Idle": idle}


def verdicts(request=TO_ADA, *, theirs="Theirs", draw=TURNED_AWAY, **state):
    """What rules out Ours, and the route's other provider."""
    route = replace(ROUTE, providers=("Ours", theirs))
    return snapshot(**state).verdicts(route, request, now=NOW, draw=draw)


def snapshot(*, breakers=(), retries_left=(), throttles=()):
    """The providers' snapshot, by name."""
    rows = {name: ProviderThrottle(provider=name, **at) for name, at in throttles}
    health = ChannelHealth(dict(breakers), dict(retries_left))
    return ProviderSnapshot({Channel.SMS: health}, Capacity(rows))


def test_nothing_rules_out_a_provider_that_is_well():
    assert verdicts() == [None, None]


def test_a_provider_that_lacks_an_option_says_which():
    _, idle = verdicts(theirs="Idle")

    assert "Idle is not configured: it lacks ACCOUNT_SID" in idle.reason
    assert idle.fallback_reason == FallbackReason.PROVIDER_UNAVAILABLE


def test_a_provider_that_cannot_carry_the_message_is_out_for_good():
    request = TO_ADA._replace(unsuitable={"Ours": "too long for it"})

    ours, _ = verdicts(request, breakers=[("Ours", OPEN)])

    assert ours == Verdict("too long for it", is_for_good=True)


def test_an_open_breaker_rules_its_provider_out_until_its_probe():
    later = Breaker(BreakerState.OPEN, open_until=NOW + SECOND)

    ours, theirs = verdicts(breakers=[("Ours", later), ("Theirs", OPEN)])

    assert (ours.until, ours.may_be_probed) == (NOW + SECOND, False)
    assert (theirs.until, theirs.may_be_probed) == (NOW, True)


def test_a_provider_is_not_probed_while_its_throttle_has_no_room():
    _, theirs = verdicts(breakers=[("Theirs", OPEN)], throttles=[("Theirs", BUSY)])

    assert not theirs.may_be_probed


def test_an_open_breaker_of_a_provider_that_cannot_be_had_is_not_probed():
    _, idle = verdicts(theirs="Idle", breakers=[("Idle", OPEN)])

    assert not idle.may_be_probed


def test_a_throttle_rules_its_provider_out_until_the_message_fits():
    assert verdicts(throttles=[("Theirs", BUSY)]) == [None, THROTTLED]


def test_a_used_up_retry_budget_rules_out_retries_only():
    state = {"retries_left": [("Ours", 0)]}

    assert verdicts(RETRY, **state) == [NO_BUDGET, None]
    assert verdicts(TO_ADA, **state) == [None, None]


def test_a_provider_whose_traffic_comes_back_leaves_the_rest_to_others():
    state = {"breakers": [("Ours", RAMPING)]}

    ours, theirs = verdicts(**state)

    assert ours.reason == "in use for 25% of the traffic"
    assert theirs is None
    assert verdicts(draw=0.2, **state) == [None, None]


def test_a_provider_whose_traffic_comes_back_takes_all_where_there_is_no_other():
    ours, theirs = verdicts(breakers=[("Ours", RAMPING), ("Theirs", OPEN)])

    assert ours is None
    assert theirs is not None


def test_where_there_is_no_other_throttles_and_budgets_hold_all_the_same():
    state = {
        "breakers": [("Ours", RAMPING), ("Theirs", RAMPING)],
        "retries_left": [("Ours", 0)],
        "throttles": [("Theirs", BUSY)],
    }

    assert verdicts(RETRY, **state) == [NO_BUDGET, THROTTLED]


@pytest.mark.django_db
def test_of_equally_specific_active_routes_the_highest_priority_serves():
    RouteFactory(priority=1)
    best = RouteFactory(priority=3)
    RouteFactory(priority=9, is_active=False)
    mms = RouteFactory(channel=Channel.MMS)
    table = RoutingTable()

    assert table.route(ADA, now=NOW).config_id == best.pk
    assert table.route(ADA._replace(channel=Channel.MMS), now=NOW).config_id == mms.pk


@pytest.mark.django_db
def test_a_route_whose_policy_is_gone_is_passed_over_and_shown(caplog):
    good = RouteFactory(priority=1)
    RouteFactory(
        priority=3,
        retry_strategy=RetryStrategy.CUSTOM,
        custom_retry_policy="routing.gone.policy",
    )

    assert [route.config_id for route in active_routes()] == [good.pk]
    assert "routing.gone" in caplog.text


@pytest.mark.django_db
def test_a_route_with_a_strategy_of_a_later_version_is_passed_over(caplog):
    good = RouteFactory(priority=1)
    later = RouteFactory(priority=3, routing_strategy=99)

    assert [route.config_id for route in active_routes()] == [good.pk]
    assert f"The route {later.pk}" in caplog.text


@pytest.mark.django_db
def test_a_table_reads_the_routes_again_when_they_are_old(django_assert_num_queries):
    RouteFactory(max_retries=1)
    table = RoutingTable(max_age=timedelta(seconds=1))
    almost = NOW + timedelta(milliseconds=999)
    assert table.route(ADA, now=NOW).max_retries == 1
    ChannelRoutingConfig.objects.update(max_retries=2)

    with django_assert_num_queries(0):
        assert table.route(ADA, now=almost).max_retries == 1
    assert table.route(ADA, now=NOW + timedelta(seconds=1)).max_retries == 2


@pytest.mark.django_db
def test_a_table_reads_the_routes_again_when_the_clock_was_set_back():
    RouteFactory(max_retries=1)
    table = RoutingTable()
    table.all(now=NOW)
    ChannelRoutingConfig.objects.update(max_retries=2)

    (route,) = table.all(now=NOW - timedelta(hours=1))

    assert route.max_retries == 2


@pytest.mark.django_db
def test_a_channel_without_a_route_has_none():
    RouteFactory(channel=Channel.MMS)

    assert RoutingTable().route(ADA, now=NOW) is None
