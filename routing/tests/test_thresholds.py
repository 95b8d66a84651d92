"""What a route asks of a provider."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from routing.rules.thresholds import Thresholds, screen
from routing.strategies import Candidate, Verdict
from routing.tests.test_strategies import rated, routes
from routing.vocabulary import FallbackReason

A = Candidate("A", price=Decimal("0.05"), quality=0.85, evidence=500)
B = Candidate("B", price=Decimal("0.03"), quality=0.95, evidence=500)
THREE_CENTS = Thresholds(max_cost=Decimal("0.03"))
NINETY = Thresholds(min_quality=0.9)

thresholds = st.builds(
    Thresholds,
    max_cost=st.none() | st.decimals(0, 2, places=4),
    min_quality=st.none() | st.floats(0, 1),
)


def eligible(screened):
    return [each.provider for each in screened if each.is_eligible]


def test_without_limits_nothing_changes():
    screened = screen([A, B], Thresholds())

    assert screened == (A, B)


def test_what_is_too_dear_is_ruled_out_with_its_reason():
    screened = screen([A, B], THREE_CENTS)

    assert eligible(screened) == ["B"]
    assert screened[0].verdict == Verdict(
        "its price 0.05 is above the maximum of 0.03", FallbackReason.COST_THRESHOLD
    )


def test_cost_may_rule_out_all():
    assert eligible(screen([A, A], THREE_CENTS)) == []


def test_an_unknown_price_is_not_above_the_maximum():
    assert eligible(screen([replace(A, price=None)], THREE_CENTS)) == ["A"]


def test_what_delivers_too_little_is_ruled_out_with_its_reason():
    screened = screen([A, B], NINETY)

    assert eligible(screened) == ["B"]
    assert screened[0].verdict == Verdict(
        "it delivers 85.0%, below the minimum of 90.0%",
        FallbackReason.QUALITY_THRESHOLD,
    )


def test_the_best_stays_where_all_deliver_too_little():
    assert eligible(screen(rated(A=40, B=85, C=85), NINETY)) == ["B"]


def test_the_best_that_may_be_used_stays():
    screened = screen(
        [replace(A, verdict=Verdict("open")), replace(B, quality=0.8)], NINETY
    )

    assert eligible(screened) == ["B"]


def test_the_best_that_can_be_paid_stays():
    b = replace(B, price=Decimal(1), quality=0.99)

    screened = screen([replace(A, price=None), b], replace(NINETY, max_cost=Decimal(1)))
    assert eligible(screened) == ["B"]

    cheap = replace(NINETY, max_cost=Decimal("0.5"))
    assert eligible(screen([replace(A, price=None), b], cheap)) == ["A"]


def test_little_or_no_evidence_rules_nobody_out():
    little, none = replace(A, evidence=49), replace(A, quality=None)

    assert eligible(screen([little, none, B], NINETY)) == ["A", "A", "B"]


def test_a_candidate_that_is_out_already_keeps_its_verdict():
    screened = screen(
        [replace(A, verdict=Verdict("open")), B], replace(NINETY, max_cost=Decimal(0))
    )

    assert screened[0].verdict == Verdict("open")
    assert screened[1].verdict


@given(routes(), thresholds)
def test_quality_alone_never_rules_out_all(route, limits):
    screened = screen(route, replace(limits, max_cost=None))

    assert any(each.is_eligible for each in route) == bool(eligible(screened))


@given(routes(), thresholds)
def test_thresholds_change_nothing_but_the_verdicts_on_eligible_candidates(
    route, limits
):
    screened = screen(route, limits)

    for before, after in zip(route, screened, strict=True):
        assert replace(after, verdict=before.verdict) == before
        assert before.is_eligible or after == before


@given(routes(), thresholds)
def test_nothing_above_the_maximum_is_left(route, limits):
    left = [each for each in screen(route, limits) if each.is_eligible]

    if limits.max_cost is not None:
        assert all(each.price is None or each.price <= limits.max_cost for each in left)
