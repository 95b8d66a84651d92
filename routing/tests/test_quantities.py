"""Counts with their nouns."""

import pytest

from routing.text.quantities import quantity


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((0, "row"), "0 rows"),
        ((1, "row"), "1 row"),
        ((1200, "row"), "1,200 rows"),
        ((1, "address", "addresses"), "1 address"),
        ((2, "address", "addresses"), "2 addresses"),
    ],
)
def test_a_quantity_reads_as_people_say_it(words, text):
    assert quantity(*words) == text
