"""Breakers and throttles, shared by all workers through the database."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from random import Random

import pytest
from django.db import connection, transaction

from messaging.models import CampaignMessage
from messaging.queue.claim import Claimer
from messaging.queue.record import record
from messaging.tests.scenario import (
    LEASE,
    MINUTE,
    NOW,
    PATIENCE,
    accepted,
    claim,
    failed,
    messages,
    running,
    statements_of,
    write,
)
from routing.decision.planner import Planner
from routing.models import MessageDeliveryAttempt, ProviderHealth, ProviderThrottle
from routing.providers.base import (
    AccountError,
    OutcomeUnknown,
    ProviderError,
    RecipientError,
    Throttled,
)
from routing.rules.breaker import BreakerState
from routing.rules.decide import Decision, FallBack, GiveUp, Retry
from routing.rules.retry_budget import remaining_now
from routing.vocabulary import Channel, FallbackReason, MessageStatus

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
LATER = Retry(NOW + MINUTE, True)


def breaker(provider="TwilioSMS"):
    return ProviderHealth.objects.get(provider=provider, channel=Channel.SMS)


def open_breaker(provider="TwilioSMS", *, until=NOW, **fields):
    return ProviderHealth.objects.create(
        provider=provider,
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        open_until=until,
        reason="5 failures in a row",
        opened_count=1,
        **fields,
    )


def failed_once(provider="TwilioSMS"):
    """A breaker that remembers a failure, so that its provider is watched."""
    bucket = int(NOW.timestamp()) // 10, 0, 1
    return ProviderHealth.objects.create(
        provider=provider, channel=Channel.SMS, buckets=[bucket]
    )


def throttle(provider="TwilioSMS", **fields):
    return ProviderThrottle.objects.create(provider=provider, **fields)


def providers(claimed):
    return Counter(each.decision.provider for each in claimed)


def test_failures_open_the_breaker_and_the_next_messages_go_elsewhere(route):
    messages(7)
    write(*[failed(each, ProviderError(), LATER) for each in claim(limit=5)])

    (first, second) = claim()

    assert breaker().state == BreakerState.OPEN
    assert breaker().reason == "5 failures in a row"
    for claimed in (first, second):
        assert claimed.decision.provider == "VonageSMS"
        assert claimed.decision.fallback_reason == FallbackReason.PROVIDER_UNAVAILABLE
        verdict = claimed.decision.record["candidates"][0]["verdict"]
        assert verdict.startswith("out of use until")


def test_failures_among_successes_are_none_in_a_row(route):
    messages(6)
    *bad, good = claim(limit=6)

    write(accepted(good), *[failed(each, ProviderError(), LATER) for each in bad])

    assert breaker().state == BreakerState.CLOSED
    assert breaker().failures_in_a_row == 0


def test_a_provider_that_is_well_again_costs_no_more_than_one_that_never_failed(route):
    messages(4)
    one, other, last = claim(limit=3)
    never_failed = len(statements_of(lambda: write(accepted(one))))
    write(failed(other, ProviderError(), GiveUp()))

    watched = len(statements_of(lambda: write(accepted(last))))
    later = NOW + 2 * MINUTE
    (after,) = claim(now=later)
    well = len(statements_of(lambda: write(accepted(after), now=later)))

    assert watched > never_failed
    assert well == never_failed


@pytest.mark.parametrize(
    "failure", [RecipientError(), Throttled(), Throttled(retry_after=MINUTE)]
)
def test_what_says_nothing_of_the_provider_does_not_count_against_it(route, failure):
    messages(9)

    write(*[failed(each, failure, GiveUp()) for each in claim()])

    assert not ProviderHealth.objects.exists()


def test_refused_credentials_open_the_breaker_at_once(route):
    messages(1)

    write(failed(claim()[0], AccountError(code="401"), LATER))

    assert breaker().state == BreakerState.OPEN


def test_unknown_outcomes_count_against_the_provider(route):
    messages(5)

    write(*[failed(each, OutcomeUnknown(), GiveUp()) for each in claim()])

    assert breaker().state == BreakerState.OPEN


def test_the_last_provider_stays_in_use_while_some_calls_succeed(route):
    open_breaker("VonageSMS", until=NOW + MINUTE)
    messages(30)
    one, *others = claim()

    write(accepted(one), *[failed(each, ProviderError(), LATER) for each in others])

    assert breaker().state == BreakerState.CLOSED
    assert "no other provider may be used" in breaker().reason


def test_one_message_at_a_time_probes_an_open_breaker(route):
    open_breaker()
    messages(8)

    first, second = claim(limit=4, owner=1), claim(limit=4, owner=2)

    assert providers(first) == {"TwilioSMS": 1, "VonageSMS": 3}
    assert providers(second) == {"VonageSMS": 4}
    assert breaker().state == BreakerState.HALF_OPEN


@pytest.mark.django_db(transaction=True)
def test_a_claim_does_not_wait_for_a_breaker_that_another_worker_holds(route):
    """It might hold another breaker, which that worker waits for."""
    if connection.vendor != "postgresql":
        pytest.skip("an in-memory SQLite database has one connection")
    open_breaker()
    messages(1)
    with locked_elsewhere(ProviderHealth.objects.all()):
        (claimed,) = claim()

    assert (claimed.decision.provider, claimed.probe_token) == ("VonageSMS", None)


@contextmanager
def locked_elsewhere(rows):
    """Another worker holds these rows, and releases them after half the patience."""
    is_locked, may_go = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            list(rows.select_for_update())
            is_locked.set()
            may_go.wait(PATIENCE / 2)

    with running(hold):
        is_locked.wait(PATIENCE)
        yield
        may_go.set()


def test_an_open_breaker_is_not_probed_before_its_time(route):
    open_breaker(until=NOW + SECOND)
    messages(3)

    assert providers(claim()) == {"VonageSMS": 3}


def test_a_dead_prober_holds_nobody_up_for_longer_than_its_lease(route):
    open_breaker()
    messages(2)
    assert providers(claim(limit=1)) == {"TwilioSMS": 1}

    assert providers(claim(limit=1, now=NOW + 2 * MINUTE)) == {"TwilioSMS": 1}


def test_good_probes_close_the_breaker_and_traffic_comes_back_in_steps(route):
    open_breaker()
    messages(3 + 400)
    for _ in range(3):
        (probe,) = claim(limit=1)
        write(accepted(probe))
    assert breaker().state == BreakerState.CLOSED

    shares = [
        providers(
            [each for _ in range(2) for each in claim(limit=50, now=NOW + elapsed)]
        )["TwilioSMS"]
        for elapsed in (SECOND, 31 * SECOND, 61 * SECOND)
    ]

    assert 10 <= shares[0] <= 40
    assert 35 <= shares[1] <= 65
    assert shares[2] == 100


def test_a_bad_probe_opens_the_breaker_for_longer(route):
    open_breaker()
    messages(1)

    write(failed(claim()[0], ProviderError(), LATER))

    assert breaker().state == BreakerState.OPEN
    assert breaker().open_until >= NOW + 5 * SECOND
    assert breaker().opened_count == 2


def test_a_provider_that_comes_back_alone_is_not_given_all_at_once(route):
    route.enable_fallback = False
    route.fallback_provider = ""
    route.save()
    ProviderHealth.objects.create(
        provider="TwilioSMS", channel=Channel.SMS, closed_at=NOW
    )
    messages(20)

    assert providers(claim()) == {"TwilioSMS": 1}
    assert claim() == []
    assert providers(claim(now=NOW + SECOND)) == {"TwilioSMS": 1}
    assert len(claim(now=NOW + MINUTE)) == 18
    assert not CampaignMessage.objects.exclude(status_reason="").exists()


def test_a_throttle_lets_no_more_through_than_its_burst_and_leaves_the_rest(route):
    route.enable_fallback = False
    route.fallback_provider = ""
    route.save()
    throttle(rate_per_second=2.0, burst=5.0)
    messages(20)

    assert len(claim()) == 5
    assert claim() == []
    rest = CampaignMessage.objects.queued()
    assert set(rest.values_list("status_reason", "due_at")) == {("", NOW - MINUTE)}
    assert len(claim(now=NOW + SECOND)) == 2


def test_what_a_throttle_has_no_room_for_falls_back(route):
    throttle(rate_per_second=1.0, burst=3.0)
    messages(5)

    claimed = claim()

    assert providers(claimed) == {"TwilioSMS": 3, "VonageSMS": 2}
    assert {
        each.decision.fallback_reason
        for each in claimed
        if each.decision.provider == "VonageSMS"
    } == {FallbackReason.RATE_LIMIT_EXCEEDED}


def test_a_throttle_may_count_segments(route):
    throttle(rate_per_second=1.0, burst=4.0, counts_segments=True)
    messages(4, segments=2)

    assert providers(claim()) == {"TwilioSMS": 2, "VonageSMS": 2}


def test_concurrent_calls_are_limited_over_all_workers(route):
    throttle(max_concurrency=3, burst=100.0)
    messages(8)

    first, second = claim(limit=4, owner=1), claim(limit=4, owner=2)

    assert providers(first) == {"TwilioSMS": 3, "VonageSMS": 1}
    assert providers(second) == {"VonageSMS": 4}
    over = [each for each in first if each.decision.provider == "TwilioSMS"][:2]
    write(*map(accepted, over), owner=1)
    messages(4)
    assert providers(claim(owner=2)) == {"TwilioSMS": 2, "VonageSMS": 2}


@pytest.mark.parametrize(
    "failure",
    [Throttled(retry_after=30 * SECOND), AccountError(code="20003")],
    ids=["429", "401"],
)
def test_a_worker_heeds_a_first_failure_from_its_next_claim_on(route, failure):
    messages(2)
    planner = Planner(rng=Random(0))
    worker = Claimer(owner=1, lease=LEASE, planner=planner)
    (one,) = worker.claim(limit=1, now=NOW).claimed
    answer = failed(one, failure, Retry(NOW + MINUTE, False))

    record([answer], owner=1, lease=LEASE, planner=planner, now=NOW)

    assert providers(worker.claim(limit=1, now=NOW).claimed) == {"VonageSMS": 1}


def test_after_a_429_a_claim_is_as_large_as_before(route):
    messages(60)
    (first,) = claim(limit=1)
    write(failed(first, Throttled(), Retry(NOW + 9 * MINUTE, counts_as_retry=False)))

    assert providers(claim(limit=50, now=NOW + 6 * MINUTE)) == {"TwilioSMS": 50}


def test_a_429_pauses_the_provider_for_all_workers_and_burns_no_round(route):
    messages(3)
    (first,) = claim(limit=1)
    write(
        failed(
            first,
            Throttled(retry_after=30 * SECOND),
            Retry(NOW + 30 * SECOND, counts_as_retry=False),
        )
    )

    assert providers(claim(owner=2)) == {"VonageSMS": 2}
    assert CampaignMessage.objects.get(pk=first.message_id).retry_count == 0
    assert ProviderThrottle.objects.get().factor == pytest.approx(0.7)
    again = claim(now=NOW + 31 * SECOND)
    assert providers(again) == {"TwilioSMS": 1}


def test_a_fallback_that_finds_no_room_waits_and_is_not_burnt(route):
    throttle("VonageSMS", rate_per_second=0.1, burst=1.0)
    messages(2)
    first, second = claim()
    reason = FallbackReason.PRIMARY_FAILED
    fall_back = FallBack(Decision("VonageSMS", reason, {}))

    (next_up,) = write(
        failed(first, ProviderError(), fall_back),
        failed(second, ProviderError(), fall_back),
    )

    assert next_up.decision.provider == "VonageSMS"
    waiting = CampaignMessage.objects.get(status=MessageStatus.QUEUED)
    assert waiting.due_at == NOW + 10 * SECOND
    assert waiting.retry_count == 0
    assert MessageDeliveryAttempt.objects.count() == 2


def without_fallback(route):
    route.enable_fallback = False
    route.fallback_provider = ""
    route.save()
    failed_once()


def test_retries_that_fail_are_few_beside_first_sends(route):
    without_fallback(route)
    messages(100, retry_count=1)
    one, *others = claim()
    write(accepted(one), *[failed(each, ProviderError(), LATER) for each in others])

    claimed = claim()

    assert len(claimed) == 1  # a reserve of one per second, and no first sends
    waiting = CampaignMessage.objects.queued().filter(
        status_reason__contains="retry budget"
    )
    assert waiting.count() == 89
    assert {each.due_at for each in waiting} == {NOW + 2 * SECOND}
    assert set(waiting.values_list("retry_count", flat=True)) == {1}


def test_retries_that_are_accepted_make_way_for_the_rest(route):
    without_fallback(route)
    messages(30, retry_count=1)
    write(*[accepted(each) for each in claim(limit=10)])

    claimed = claim()

    assert len(claimed) == 10
    assert breaker().recent_sends[-1].failed_retries == 0


def test_first_sends_earn_retries(route):
    failed_once()
    messages(50)
    write(*[accepted(each) for each in claim()])

    sends = ProviderHealth.objects.get().recent_sends

    assert [(each.first_sends, each.failed_retries) for each in sends] == [(50, 0)]
    assert remaining_now(sends, NOW) == 20
    assert remaining_now(sends, NOW + 2 * MINUTE) == 10


def test_a_throttled_provider_is_not_probed(route):
    open_breaker()
    throttle(rate_per_second=0.001, burst=1.0, tat=NOW + 3000 * SECOND)
    messages(1)

    assert providers(claim()) == {"VonageSMS": 1}
    assert breaker().state == BreakerState.OPEN
