"""How a route picks among its providers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.strategies import STRATEGIES, Candidate, Context, Verdict
from routing.strategies.base import fallback, primary
from routing.strategies.highest_reliability import highest_reliability
from routing.strategies.least_cost import least_cost
from routing.strategies.round_robin import round_robin, smooth_sequence
from routing.vocabulary import RoutingStrategy

prices = st.none() | st.decimals(0, 2, places=4)
qualities = st.none() | st.floats(0, 1)


@st.composite
def routes(draw):
    """The candidates of a route, with names of their own."""
    count = draw(st.integers(1, 6))
    return [
        Candidate(
            provider=f"P{number}",
            verdict=draw(st.sampled_from([None, None, Verdict("open")])),
            weight=draw(st.integers(0, 9)),
            price=draw(prices),
            quality=draw(qualities),
            evidence=draw(st.sampled_from([0.0, 49.9, 50.0, 1e6])),
        )
        for number in range(count)
    ]


contexts = st.builds(
    Context,
    turn=st.integers(0, 2**63),
    draw=st.floats(0, 1, exclude_max=True),
    may_explore=st.booleans(),
)
strategies = st.sampled_from(list(STRATEGIES.values()))


def priced(**by_provider):
    return [
        Candidate(name, price=None if price is None else Decimal(price))
        for name, price in by_provider.items()
    ]


def rated(**by_provider):
    """Candidates by their delivery rate in percent, with enough evidence each."""
    return [
        Candidate(name, quality=percent / 100, evidence=500)
        for name, percent in by_provider.items()
    ]


def out(candidate):
    return replace(candidate, verdict=Verdict("open"))


def test_every_strategy_of_the_vocabulary_is_there():
    assert set(STRATEGIES) == set(RoutingStrategy), (
        "Add it to STRATEGIES in routing/strategies/__init__.py."
    )


@given(strategies, routes(), contexts)
def test_a_choice_is_an_eligible_candidate_of_the_route(strategy, route, context):
    chosen = strategy(route, context)

    if chosen is not None:
        assert chosen in route
        assert chosen.is_eligible


@given(strategies, routes(), contexts)
def test_the_same_moment_gives_the_same_choice(strategy, route, context):
    assert strategy(route, context) == strategy(list(route), replace(context))


@given(strategies, routes(), contexts)
def test_none_is_chosen_only_when_there_is_none_to_choose(strategy, route, context):
    if strategy is primary:
        route = route[:1]

    is_possible = any(each.is_eligible for each in route)

    assert (strategy(route, context) is not None) == is_possible


@pytest.mark.parametrize("strategy", STRATEGIES.values())
def test_a_route_about_which_nothing_is_known_starts_with_its_first(strategy):
    assert strategy([Candidate("A"), Candidate("B")]).provider == "A"


@given(routes())
def test_primary_knows_only_the_first(route):
    chosen = primary(route)

    assert chosen == (route[0] if route[0].is_eligible else None)


@given(routes())
def test_fallback_takes_the_first_eligible(route):
    eligible = [each for each in route if each.is_eligible]

    assert fallback(route) == (eligible[0] if eligible else None)


def test_round_robin_spreads_a_heavy_candidate_among_the_light():
    route = [Candidate("A", weight=5), Candidate("B"), Candidate("C")]

    turns = [round_robin(route, Context(turn)).provider for turn in range(7)]

    assert "".join(turns) == "AABACAA"


@given(routes(), st.integers(0, 2**63))
def test_any_window_of_turns_gives_each_exactly_its_weight(route, start):
    eligible = [each for each in route if each.is_eligible and each.weight]
    length = sum(each.weight for each in eligible)

    counts = Counter(
        round_robin(route, Context(turn)).provider
        for turn in range(start, start + length)
    )

    assert counts == {each.provider: each.weight for each in eligible}


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 300))
def test_no_candidate_is_ever_a_whole_round_ahead_or_behind(weights, turns):
    sequence = smooth_sequence(tuple(weights))
    total = sum(weights)

    counts = Counter(sequence[turn % len(sequence)] for turn in range(turns))

    for position, weight in enumerate(weights):
        due = turns * weight / total
        assert abs(counts[position] - due) < len(weights)


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
)
def test_processes_that_share_the_counter_share_out_fairly(weights, rng):
    route = [Candidate(f"P{n}", weight=weight) for n, weight in enumerate(weights)]
    turns = list(range(4 * sum(weights)))
    rng.shuffle(turns)  # turns are taken in any order

    counts = Counter(round_robin(route, Context(turn)).provider for turn in turns)

    assert counts == {each.provider: 4 * each.weight for each in route}


def test_a_candidate_of_weight_0_serves_only_where_no_other_may():
    a, b = Candidate("A", weight=0), Candidate("B")

    assert {round_robin([a, b], Context(turn)) for turn in range(9)} == {b}
    assert round_robin([a, out(b)]) == a


def test_huge_weights_are_scaled_down():
    sequence = smooth_sequence((10**9, 3 * 10**9 + 1, 1))

    assert Counter(sequence) == {0: 249, 1: 749, 2: 1}


def test_least_cost_takes_the_cheapest():
    assert least_cost(priced(A="0.05", B="0.03", C="0.04")).provider == "B"


def test_of_equal_prices_the_first_in_the_route_wins():
    assert least_cost(priced(A="0.05", B="0.030", C="0.03")).provider == "B"


def test_an_unknown_price_never_wins_on_cost():
    assert least_cost(priced(A=None, B="0.50")).provider == "B"
    assert least_cost(priced(A=None, B=None)).provider == "A"


@given(routes())
def test_nobody_eligible_with_a_price_is_cheaper_than_the_choice(route):
    chosen = least_cost(route)
    known = [
        each.price for each in route if each.is_eligible and each.price is not None
    ]

    if known:
        assert chosen.price == min(known)
    else:
        assert chosen == fallback(route)


def test_highest_reliability_takes_the_best():
    assert highest_reliability(rated(A=90, B=97, C=95)).provider == "B"


@pytest.mark.parametrize(("b", "choice"), [(95.9, "A"), (96, "A"), (96.1, "B")])
def test_the_first_stays_unless_another_is_better_by_more_than_a_point(b, choice):
    assert highest_reliability(rated(A=95, B=b)).provider == choice


def test_the_first_that_is_eligible_is_the_one_to_leave():
    a, b, c = rated(A=99, B=95, C=95.5)

    assert highest_reliability([out(a), b, c]) == b


def test_little_evidence_does_not_count():
    a, b = rated(A=90, B=99)
    little = replace(b, evidence=49.9)

    assert highest_reliability([a, little]) == a
    assert highest_reliability([little, a]) == a
    assert highest_reliability([replace(a, evidence=0), little]).provider == "A"


@given(routes())
def test_nobody_with_evidence_is_better_by_more_than_a_point(route):
    chosen = highest_reliability(route)
    known = [
        each.quality
        for each in route
        if each.is_eligible and each.quality is not None and each.evidence >= 50
    ]

    if known:
        assert chosen.evidence >= 50
        assert chosen.quality >= max(known) - 0.011
    else:
        assert chosen == fallback(route)


def test_three_percent_explore_evenly_where_they_may():
    route = rated(A=90, B=99, C=95)
    draws = [n / 1000 for n in range(1000)]

    counts = Counter(
        highest_reliability(route, Context(draw=draw, may_explore=True)).provider
        for draw in draws
    )

    assert counts == {"B": 970, "A": 15, "C": 15}


@given(routes(), st.floats(0, 1, exclude_max=True))
def test_what_may_not_explore_never_does(route, draw):
    assert highest_reliability(route, Context(draw=draw)) == highest_reliability(route)


def test_there_is_nothing_to_explore_beside_the_only_one():
    a, b = rated(A=90, B=99)

    assert highest_reliability([a, out(b)], Context(draw=0.0, may_explore=True)) == a
