"""What rules a provider out for one message, why, and until when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from routing.decision.request import RoutingRequest
from routing.decision.snapshot import ProviderSnapshot
from routing.health.breakers import ChannelHealth
from routing.health.throttles import Capacity
from routing.models import ProviderThrottle
from routing.rules.breaker import Breaker, BreakerState
from routing.rules.route import Destination
from routing.strategies import Verdict
from routing.tests.test_decide import NOW, ROUTE, SECOND
from routing.vocabulary import Channel, FallbackReason

TO_ADA = RoutingRequest(Destination(Channel.SMS, "+14155550101"), segments=1)
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
