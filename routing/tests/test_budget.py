"""How many retries a provider may get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rules.retry_budget import remaining


@pytest.mark.parametrize(
    ("first_sends", "failed_retries", "left"),
    [
        (0, 0, 10),
        (0, 10, 0),
        (1000, 0, 210),
        (1000, 209, 1),
        (1000, 210, 0),
        (1000, 9999, 0),
        (15, 0, 13),
    ],
)
def test_failed_retries_are_a_fifth_of_the_first_sends_and_one_a_second(
    first_sends, failed_retries, left
):
    assert remaining(first_sends=first_sends, failed_retries=failed_retries) == left


def test_a_longer_window_has_a_larger_reserve():
    assert remaining(first_sends=100, failed_retries=0, seconds=60) == 80
    assert remaining(first_sends=0, failed_retries=0, seconds=-1) == 0


@given(st.integers(0, 10**6), st.integers(0, 600))
def test_retries_that_ask_first_never_exceed_the_budget(first_sends, seconds):
    retries = remaining(first_sends=first_sends, failed_retries=0, seconds=seconds)

    assert retries <= first_sends / 5 + seconds + 1e-6
    assert not remaining(
        first_sends=first_sends, failed_retries=retries, seconds=seconds
    )
