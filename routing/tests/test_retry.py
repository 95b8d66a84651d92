"""When a message is retried."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rules.retry import POLICIES, RetryHistory, policy_for, with_jitter
from routing.vocabulary import RetryStrategy

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def delay(strategy, failed_rounds, *, initial=MINUTE, maximum=HOUR, custom=None):
    policy = policy_for(strategy, initial=initial, maximum=maximum, custom=custom)
    return policy(RetryHistory(failed_rounds))


def test_every_policy_of_the_vocabulary_is_there():
    assert {*POLICIES, RetryStrategy.CUSTOM} == set(RetryStrategy), (
        "Add it to POLICIES in routing/rules/retry.py."
    )


@pytest.mark.parametrize(
    ("strategy", "minutes"),
    [
        (RetryStrategy.LINEAR, [1, 2, 3, 4, 5]),
        (RetryStrategy.EXPONENTIAL, [2, 4, 8, 16, 32]),
    ],
)
def test_the_delay_grows_as_the_strategy_says(strategy, minutes):
    delays = [delay(strategy, number) for number in (1, 2, 3, 4, 5)]

    assert delays == [timedelta(minutes=each) for each in minutes]


@given(
    strategy=st.sampled_from(list(POLICIES)),
    failed_rounds=st.integers(1, 100_000),
    initial=st.integers(0, 2**31 - 1),
    maximum=st.integers(0, 2**31 - 1),
)
def test_the_delay_never_exceeds_the_maximum_however_many_rounds_failed(
    strategy, failed_rounds, initial, maximum
):
    result = delay(
        strategy,
        failed_rounds,
        initial=timedelta(seconds=initial),
        maximum=timedelta(seconds=maximum),
    )

    assert result is None or timedelta(0) <= result <= timedelta(seconds=maximum)


def test_none_stops_after_the_first_round():
    assert delay(RetryStrategy.NONE, 1) is None


def test_custom_sees_the_history_and_decides():
    def policy(history):
        return None if history.failed_rounds > 1 else timedelta(seconds=7)

    assert delay(RetryStrategy.CUSTOM, 1, custom=policy) == timedelta(seconds=7)
    assert delay(RetryStrategy.CUSTOM, 2, custom=policy) is None


def test_custom_may_say_stop():
    assert delay(RetryStrategy.CUSTOM, 1, custom=lambda history: "stop") is None


@pytest.mark.parametrize("answer", [60, "soon", timedelta])
def test_a_custom_policy_that_answers_nonsense_is_replaced_and_reported(answer, caplog):
    result = delay(RetryStrategy.CUSTOM, 1, custom=lambda history: answer)

    assert result == timedelta(minutes=2)
    assert "returned" in caplog.text


def test_a_custom_policy_that_fails_is_replaced_and_reported(caplog):
    def policy(history):
        raise ZeroDivisionError

    assert delay(RetryStrategy.CUSTOM, 1, custom=policy) == timedelta(minutes=2)
    assert "failed" in caplog.text


@pytest.mark.parametrize(
    ("answer", "becomes"),
    [(-MINUTE, timedelta(0)), (timedelta.max, timedelta(days=30))],
)
def test_the_delay_of_a_custom_policy_is_kept_within_reason(answer, becomes):
    assert delay(RetryStrategy.CUSTOM, 1, custom=lambda history: answer) == becomes


@given(seconds=st.integers(0, 10**6), share=st.floats(0, 1), seed=st.integers())
def test_jitter_only_ever_adds_and_at_most_its_share(seconds, share, seed):
    base = timedelta(seconds=seconds)

    result = with_jitter(base, share=share, rng=Random(seed))

    assert base <= result <= base * (1 + share) + timedelta(microseconds=1)
