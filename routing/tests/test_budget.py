"""How many retries a provider may get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.budget import allows, remaining


@pytest.mark.parametrize(
    ("first_sends", "retries", "left"),
    [
        (0, 0, 60),
        (0, 60, 0),
        (1000, 0, 260),
        (1000, 259, 1),
        (1000, 260, 0),
        (1000, 9999, 0),
        (15, 0, 63),
    ],
)
def test_retries_are_a_fifth_of_the_first_sends_and_one_a_second(
    first_sends, retries, left
):
    assert remaining(first_sends=first_sends, retries=retries) == left
    assert allows(first_sends=first_sends, retries=retries) == (left > 0)


def test_a_shorter_window_has_a_smaller_reserve():
    assert remaining(first_sends=100, retries=0, seconds=10) == 30
    assert remaining(first_sends=0, retries=0, seconds=-1) == 0


@given(st.integers(0, 10**6), st.integers(0, 600))
def test_retries_that_ask_first_never_exceed_the_budget(first_sends, seconds):
    retries = remaining(first_sends=first_sends, retries=0, seconds=seconds)

    assert retries <= first_sends / 5 + seconds + 1e-6
    assert not allows(first_sends=first_sends, retries=retries, seconds=seconds)
