"""How well a provider delivers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rules.delivery_rate import (
    NO_MORE_RECEIPTS,
    Evidence,
    Overdue,
    add,
    decay,
    posterior_mean,
    prior_from,
    receipt_delay,
    score,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HALF_LIFE = timedelta(minutes=30)

counts = st.floats(0, 1e6)
rates = st.floats(0, 1)
evidences = st.builds(Evidence, counts, counts, st.just(NOW))
overdue_bins = st.lists(
    st.builds(
        Overdue,
        st.integers(-10, 2000).map(lambda seconds: seconds * SECOND),
        st.integers(0, 10_000),
    ),
    max_size=5,
)


def evidence(successes=0.0, failures=0.0):
    return Evidence(successes, failures, NOW)


def silence(seconds, count):
    return [Overdue(seconds * SECOND, count)]


def test_evidence_halves_in_a_half_life():
    later = decay(evidence(80, 20), NOW + HALF_LIFE, HALF_LIFE)

    assert (later.successes, later.failures) == (40, 10)
    assert later.updated_at == NOW + HALF_LIFE


def test_a_clock_that_goes_backwards_changes_nothing():
    assert decay(evidence(80, 20), NOW - HALF_LIFE, HALF_LIFE) == evidence(80, 20)


def test_evidence_of_long_ago_fades_to_nothing():
    faded = decay(evidence(1e6), NOW + timedelta(days=3650), HALF_LIFE)

    assert faded.total == pytest.approx(0)


def test_new_evidence_is_added_to_what_is_left():
    later = NOW + 2 * HALF_LIFE

    added = add(
        evidence(80, 20), successes=10, failures=5, now=later, half_life=HALF_LIFE
    )

    assert added == Evidence(30, 10, later)


def test_without_evidence_the_score_is_the_prior():
    result = score(evidence(), prior_mean=0.9)

    assert result.mean == pytest.approx(0.9)
    assert result.evidence == 0
    assert (result.lower, result.upper) == pytest.approx((0.7717, 1.0), abs=1e-3)


def test_evidence_outweighs_the_prior_with_time():
    means = [
        score(evidence(n * 0.5, n * 0.5), prior_mean=0.9).mean for n in (2, 20, 2e4)
    ]

    assert means == pytest.approx([0.8636, 0.7, 0.5004], abs=1e-3)


def test_the_interval_is_close_to_that_of_the_beta_distribution():
    # Beta(18 + 190, 2 + 10), integrated numerically, has 95 % in 0.9119 to 0.9714.
    result = score(evidence(190, 10), prior_mean=0.9)

    assert result.lower == pytest.approx(0.9119, abs=0.005)
    assert result.upper == pytest.approx(0.9714, abs=0.005)


def test_receipts_that_are_not_due_yet_say_nothing():
    assert score(evidence(90, 10), prior_mean=0.9, overdue=silence(0, 500)) == (
        score(evidence(90, 10), prior_mean=0.9)
    )


def test_silence_counts_the_more_the_longer_it_lasts():
    means = [
        score(evidence(97, 3), prior_mean=0.97, overdue=silence(seconds, 50)).mean
        for seconds in (1, 8, 60, 300, 900)
    ]

    assert means == sorted(means, reverse=True)
    assert means[0] == pytest.approx(0.97, abs=0.01)
    assert means[-1] == pytest.approx(0.97 * 120 / 170)


def test_silence_of_the_usual_length_does_no_harm():
    # Of 100 just sent, as many lack a receipt as the delays explain.
    usual = [
        Overdue(
            seconds * SECOND, round(100 * (1 - 0.97 * receipt_delay(seconds * SECOND)))
        )
        for seconds in (2, 5, 10, 20)
    ]

    result = score(evidence(970, 30), prior_mean=0.97, overdue=usual)

    assert result.mean > 0.9


def test_a_silent_outage_shows_within_minutes():
    before = evidence(485, 15)
    outage = [Overdue(minute * 60 * SECOND, 15) for minute in range(1, 11)]

    assert score(before, prior_mean=0.95, overdue=outage).mean < 0.80


def test_half_the_receipts_come_within_eight_seconds_and_most_within_a_minute():
    shares = [receipt_delay(seconds * SECOND) for seconds in (-1, 0, 8, 68, 10**9)]

    assert shares == pytest.approx([0, 0, 0.5, 0.95, 1], abs=1e-3)


def test_each_ancestor_is_the_prior_of_the_next():
    channel, provider = evidence(950, 50), evidence(10, 10)

    assert prior_from([]) == 0.9
    assert prior_from([channel]) == pytest.approx(0.949, abs=1e-3)
    assert prior_from([channel, provider]) == pytest.approx(0.7245, abs=1e-3)


def test_a_prior_without_weight_leaves_the_evidence_to_speak():
    assert posterior_mean(evidence(1, 1), 0.9, 0.0) == pytest.approx(0.5)
    assert posterior_mean(evidence(), 0.9, 0.0) == pytest.approx(0.9)


def test_a_curve_beyond_its_bounds_is_clamped():
    late = silence(10, 10)

    mean = score(
        evidence(50, 50), prior_mean=0.5, overdue=late, delay_curve=lambda age: 7.0
    ).mean

    assert mean == pytest.approx(60 / 130)


@given(evidences, rates, overdue_bins)
def test_a_score_is_a_rate_within_its_interval(facts, prior, overdue):
    result = score(facts, prior_mean=prior, overdue=overdue)

    assert 0 <= result.lower <= result.mean + 1e-9
    assert result.mean - 1e-9 <= result.upper <= 1
    assert result.evidence >= facts.total


@given(evidences, rates, st.integers(1, 1000))
def test_what_is_too_old_only_lowers_the_score(facts, prior, count):
    late = [Overdue(NO_MORE_RECEIPTS, count)]

    with_silence = score(facts, prior_mean=prior, overdue=late).mean

    assert with_silence <= score(facts, prior_mean=prior).mean


@given(evidences, st.integers(0, 10**7))
def test_decay_keeps_the_rate_and_never_adds(facts, seconds):
    later = decay(facts, NOW + seconds * SECOND, HALF_LIFE)

    assert 0 <= later.successes <= facts.successes
    assert 0 <= later.failures <= facts.failures
