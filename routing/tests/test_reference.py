"""Our own name for an attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.reference import AttemptReference


@given(message_id=st.integers(1, 2**63 - 1), number=st.integers(1, 32767))
def test_a_reference_reads_back_as_it_was_written(message_id, number):
    reference = AttemptReference(message_id, number)

    assert AttemptReference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        *["", "m1", "m1a", "m0a1", "1a1", "m1a1 ", "m1a1x", "m1a1\n", "m１a1"],
        *["m1a32768", "m9223372036854775808a1"],  # above the limits of our columns
    ],
)
def test_other_texts_are_no_references(text):
    assert AttemptReference.parse(text) is None
