"""How fast a provider may be used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from routing.rules.throttle import (
    LONGEST_PAUSE,
    Throttle,
    available,
    factor,
    slow_down,
    take,
    wait_for,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
TEN_A_SECOND = Throttle(rate_per_second=10, burst=5)

rates = st.floats(0.05, 5000)
bursts = st.floats(0.5, 500)


def drain(throttle, now, units=1):
    """How many messages may go at once, and the throttle afterwards."""
    count = 0
    while (taken := take(throttle, units, now)) is not None:
        throttle, count = taken, count + 1
    return throttle, count


def test_a_burst_goes_at_once_and_then_the_rate_holds():
    throttle, at_once = drain(TEN_A_SECOND, NOW)
    throttle, a_second_later = drain(throttle, NOW + SECOND / 10)

    assert (at_once, a_second_later) == (5, 1)
    assert available(throttle, NOW + SECOND / 10) == 0.0


def test_what_is_available_grows_by_the_rate_up_to_the_burst():
    throttle, _ = drain(TEN_A_SECOND, NOW)

    amounts = [available(throttle, NOW + tenths * SECOND / 10) for tenths in (0, 2, 9)]

    assert amounts == pytest.approx([0, 2, 5])


def test_a_message_of_three_segments_takes_three_units():
    throttle = take(TEN_A_SECOND, 3, NOW)

    assert take(throttle, 3, NOW) is None
    assert wait_for(throttle, 3, NOW) == SECOND / 10


def test_a_message_above_the_burst_goes_after_a_rest_and_is_paid_in_full():
    assert take(replace(TEN_A_SECOND, tat=NOW + SECOND / 10), 20, NOW) is None

    throttle = take(TEN_A_SECOND, 20, NOW)

    assert throttle.tat == NOW + 2 * SECOND
    assert wait_for(throttle, 1, NOW) == 1.6 * SECOND


def test_nobody_waits_for_what_may_go_now():
    assert wait_for(TEN_A_SECOND, 5, NOW) == timedelta(0)
    assert wait_for(TEN_A_SECOND, 500, NOW) == timedelta(0)


def test_less_than_nothing_takes_nothing():
    assert take(TEN_A_SECOND, -3, NOW).tat == NOW


@pytest.mark.parametrize(
    ("rate", "burst"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1), (1, float("inf"))]
)
def test_a_rate_and_a_burst_are_above_zero(rate, burst):
    with pytest.raises(ValueError, match="above 0"):
        Throttle(rate, burst)


def test_a_429_honours_retry_after_and_slows():
    throttle = slow_down(TEN_A_SECOND, 30 * SECOND, NOW)

    assert available(throttle, NOW + 30 * SECOND) == 0.0
    assert wait_for(throttle, 1, NOW) == pytest.approx(
        30 * SECOND + SECOND / 7, abs=timedelta(microseconds=2)
    )
    assert factor(throttle, NOW + 30 * SECOND) == 0.7


def test_a_429_without_retry_after_only_slows():
    throttle = slow_down(TEN_A_SECOND, None, NOW)

    assert available(throttle, NOW) == pytest.approx(3.5)
    _, a_second_later = drain(drain(throttle, NOW)[0], NOW + SECOND)
    assert a_second_later in (3, 4)


def test_the_rate_recovers_by_five_percent_a_clean_minute():
    throttle = slow_down(TEN_A_SECOND, 30 * SECOND, NOW)
    resumed = NOW + 30 * SECOND

    factors = [factor(throttle, resumed + n * MINUTE) for n in (-1, 0, 1, 2, 6, 99)]

    assert factors == pytest.approx([0.7, 0.7, 0.75, 0.8, 1.0, 1.0])


def test_the_429s_of_one_storm_slow_it_once():
    throttle = slow_down(TEN_A_SECOND, 3 * SECOND, NOW)
    for _ in range(50):
        throttle = slow_down(throttle, None, NOW + SECOND)

    assert factor(throttle, NOW + SECOND) == 0.7
    assert throttle.slowed_at == NOW + 3 * SECOND


def test_storm_after_storm_leaves_a_tenth_of_the_rate():
    throttle = TEN_A_SECOND
    for minute in range(50):
        throttle = slow_down(throttle, None, NOW + minute * 10 * SECOND)

    assert throttle.factor == 0.1


@pytest.mark.parametrize(
    ("asked", "granted"), [(timedelta(days=400), LONGEST_PAUSE), (-SECOND, 0 * SECOND)]
)
def test_a_pause_is_at_most_a_day_and_never_negative(asked, granted):
    assert slow_down(TEN_A_SECOND, asked, NOW).slowed_at == NOW + granted


def test_a_rested_throttle_lets_one_message_go_however_slow_it_is():
    throttle = slow_down(Throttle(rate_per_second=1, burst=1), None, NOW)

    assert available(throttle, NOW) == 1.0
    assert take(throttle, 1, NOW) is not None


@given(rate=rates, burst=bursts, backlog=st.floats(-10, 100), units=st.floats(0, 1000))
def test_after_the_wait_it_may_go(rate, burst, backlog, units):
    throttle = Throttle(rate, burst, tat=NOW + backlog * SECOND)

    wait = wait_for(throttle, units, NOW)

    assert (take(throttle, units, NOW) is not None) == (wait == timedelta(0))
    assert take(throttle, units, NOW + wait) is not None


@given(rate=rates, burst=bursts, backlog=st.floats(-10, 100))
def test_what_is_available_may_be_taken(rate, burst, backlog):
    throttle = Throttle(rate, burst, tat=NOW + backlog * SECOND)

    assert take(throttle, available(throttle, NOW), NOW) is not None or (
        available(throttle, NOW) == 0
    )


class ThrottleMachine(RuleBasedStateMachine):
    """Workers that share a throttle, and a provider that sometimes answers 429."""

    @initialize(rate=rates, burst=bursts)
    def start(self, rate, burst):
        self.throttle = Throttle(rate, burst)
        self.now = NOW
        self.closed_until = NOW
        self.sent = []  # (time, units)

    def send(self, units):
        taken = take(self.throttle, units, self.now)
        if taken is None:
            return False
        assert self.now >= self.closed_until, "sent before Retry-After was over"
        self.throttle = taken
        self.sent.append((self.now, units))
        return True

    @rule(seconds=st.floats(0, 5) | st.sampled_from([60.0, 3600.0]))
    def time_passes(self, seconds):
        self.now += seconds * SECOND

    @rule(units=st.integers(1, 8))
    def a_worker_sends(self, units):
        self.send(units)

    @rule()
    def workers_send_all_they_may(self):
        self.send(int(available(self.throttle, self.now)))

    @rule(units=st.integers(1, 8))
    def a_worker_waits_and_then_may_send(self, units):
        self.now += wait_for(self.throttle, units, self.now)
        assert self.send(units)

    @rule(seconds=st.none() | st.floats(0, 90))
    def the_provider_says_429(self, seconds):
        pause = None if seconds is None else seconds * SECOND
        self.throttle = slow_down(self.throttle, pause, self.now)
        if pause:
            self.closed_until = max(self.closed_until, self.now + pause)

    @precondition(lambda self: self.sent)
    @invariant()
    def no_window_holds_more_than_rate_times_time_and_burst(self):
        most = max(self.throttle.burst, *(units for _, units in self.sent), 0)
        until, total = self.sent[-1][0], 0
        for at, units in reversed(self.sent):
            total += units
            seconds = (until - at).total_seconds() + 2e-6
            assert total <= self.throttle.rate_per_second * seconds + most + 1e-6

    @invariant()
    def it_is_never_slower_than_its_floor(self):
        assert 0.1 <= factor(self.throttle, self.now) <= 1.0


TestThrottleMachine = ThrottleMachine.TestCase
