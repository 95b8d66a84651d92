"""Tallies add up exactly, and their percentiles are within 5 %."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rules.tally import (
    Key,
    Part,
    Spending,
    Tally,
    TallySheet,
    attempt_counts,
    cost_counts,
    status_counts,
)
from routing.vocabulary import AttemptOutcome, FallbackReason, MessageStatus

NAMES = ["attempts", "late", "outcome:1", "status:3", "ms:17", "ms_sum", "cost:USD"]
tallies = st.dictionaries(st.sampled_from(NAMES), st.integers()).map(Tally)
times = st.integers(0, 2**31 - 1)


def attempt(**fields):
    """An attempt's columns: accepted at once, on time, in the first round."""
    return {
        "attempted_at": datetime(2025, 6, 2, 23, 59, tzinfo=UTC),
        "channel": 0,
        "provider": "TwilioSMS",
        "outcome": AttemptOutcome.ACCEPTED,
        "is_late": False,
        "is_retry": False,
        "fallback_reason": None,
        "response_time_ms": None,
        "cost": None,
        "currency": "",
    } | fields


def tally_of(*attempts):
    sheet = TallySheet()
    for each in attempts:
        sheet.count_attempt(each)
    return sum((tally for _, tally in sheet.tallies()), Tally())


@given(tallies, tallies, tallies)
def test_tallies_may_be_added_in_any_order_and_grouping(a, b, c):
    assert (a + b) + c == a + (b + c) == (c + a) + b


@given(tallies, tallies)
def test_what_is_taken_back_leaves_no_trace(a, b):
    assert (a + b) - b == a


def test_a_tally_of_zeros_is_none():
    assert Tally({"attempts": 0}) == Tally()
    assert not Tally({"attempts": 0})


@given(st.lists(times, min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_within_5_percent_of_the_nearest_rank(milliseconds, quantile):
    tally = tally_of(*[attempt(response_time_ms=ms) for ms in milliseconds])

    true = sorted(milliseconds)[math.ceil(quantile * len(milliseconds)) - 1]
    assert tally.response_ms(quantile) == [pytest.approx(true, rel=0.05)]


@given(st.lists(times, min_size=1))
def test_the_average_response_time_is_exact(milliseconds):
    tally = tally_of(*[attempt(response_time_ms=ms) for ms in milliseconds])

    assert tally.average_response_ms == sum(milliseconds) / len(milliseconds)


@given(st.lists(st.decimals(0, 10**6, places=6, allow_nan=False, allow_infinity=False)))
def test_money_is_exact(costs):
    tally = tally_of(*[attempt(cost=cost, currency="EUR") for cost in costs])

    spending = tally.spending()
    assert (spending["EUR"].total if costs else 0) == sum(costs)


def test_currencies_are_kept_apart():
    tally = tally_of(
        attempt(cost=Decimal("0.10"), currency="USD"),
        attempt(cost=Decimal("0.20"), currency="USD"),
        attempt(cost=Decimal("0.07"), currency="EUR"),
        attempt(),
    )

    usd = tally.spending()["USD"]
    assert list(tally.spending()) == ["EUR", "USD"]
    assert (usd.total, usd.average, usd.per(4)) == (
        Decimal("0.3"),
        Decimal("0.15"),
        Decimal("0.075"),
    )


def test_an_attempt_counts_by_outcome_round_and_fallback():
    tally = tally_of(
        attempt(),
        attempt(outcome=AttemptOutcome.REJECTED, is_retry=True),
        attempt(fallback_reason=FallbackReason.PRIMARY_FAILED),
    )

    assert tally.attempts == 3
    assert tally.outcome(AttemptOutcome.ACCEPTED) == 2
    assert tally.outcome(AttemptOutcome.REJECTED) == 1
    assert tally.retries == 1
    assert tally.fallbacks(FallbackReason.PRIMARY_FAILED) == 1
    assert tally.success_rate == pytest.approx(2 / 3)


def test_a_late_result_is_no_attempt_of_its_own_but_cost_something():
    late = attempt(
        is_late=True, response_time_ms=9, cost=Decimal("0.5"), currency="USD"
    )

    tally = tally_of(late)

    assert (tally.attempts, tally.late_results) == (0, 1)
    assert tally.outcome(AttemptOutcome.ACCEPTED) == 0
    assert tally.spending()["USD"].total == Decimal("0.5")
    assert tally.average_response_ms == 9


def test_only_a_message_that_was_accepted_counts_against_the_delivery_rate():
    counts = [
        *[status_counts(MessageStatus.DELIVERED)] * 6,
        status_counts(MessageStatus.BOUNCED, was_sent=True),
        status_counts(MessageStatus.FAILED, was_sent=True),
        status_counts(MessageStatus.FAILED),
    ]

    tally = sum(map(Tally, counts), Tally())

    assert tally.delivery_rate == pytest.approx(6 / 8)
    assert tally.messages(MessageStatus.FAILED) == 2


def test_a_rate_or_an_average_of_nothing_is_none_and_no_zero():
    nothing = Tally()

    assert nothing.success_rate is nothing.delivery_rate is None
    assert nothing.average_response_ms is None
    assert nothing.response_ms(0.5, 0.99) == [None, None]
    assert nothing.spending() == {}
    assert Spending(Decimal(1), priced=0).average is None
    assert tally_of(attempt(outcome=AttemptOutcome.REJECTED)).success_rate == 0


def test_a_sheet_keeps_days_in_utc():
    sheet = TallySheet()
    just_after_midnight_in_berlin = datetime.fromisoformat("2025-06-03T00:30+02:00")

    sheet.count_attempt(attempt(attempted_at=just_after_midnight_in_berlin))

    ((key, _),) = sheet.tallies()
    assert key == Key(date(2025, 6, 2), 0, "TwilioSMS")


def test_another_cost_takes_the_place_of_the_first():
    estimated = attempt(cost=Decimal("0.10"), currency="USD")
    sheet = TallySheet()
    sheet.count_attempt(estimated)

    sheet.change_cost(estimated, cost=Decimal("0.08"), currency="EUR")

    ((_, tally),) = sheet.tallies()
    spending = tally.spending()
    assert [(name, each.priced) for name, each in spending.items()] == [("EUR", 1)]


def test_what_a_sheet_lacks_beside_another_is_their_difference():
    truth, read_totals = TallySheet(), TallySheet()
    truth.count_attempt(attempt())
    read_totals.add(Key(date(2025, 6, 3), 0, ""), {"status:0": 2})

    difference = dict((truth - read_totals).tallies())

    assert difference[Key(date(2025, 6, 2), 0, "TwilioSMS")].attempts == 1
    assert difference[Key(date(2025, 6, 3), 0, "")] == Tally({"status:0": -2})


@given(st.sampled_from(MessageStatus), st.booleans())
def test_each_number_is_either_of_messages_or_of_attempts(status, was_sent):
    of_attempts = attempt_counts(attempt(response_time_ms=3))

    assert all(map(Part.MESSAGES.holds, status_counts(status, was_sent=was_sent)))
    assert all(map(Part.ATTEMPTS.holds, of_attempts))
    assert all(map(Part.ATTEMPTS.holds, cost_counts(Decimal(1), "USD")))
    assert not any(map(Part.MESSAGES.holds, of_attempts))
