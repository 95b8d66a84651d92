"""How many parts a text is sent in."""

from __future__ import annotations

from itertools import pairwise

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from marketing_platform.testing.shared import shared_file
from routing.text.segments import (
    GSM7_BASIC,
    GSM7_EXTENSION,
    count_segments,
    is_gsm7,
    split_segments,
)

gsm7_texts = st.text(alphabet=sorted(GSM7_BASIC | GSM7_EXTENSION), max_size=700)
any_texts = st.text(max_size=400)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("я" * 134, 2),
        ("я" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("“curly”", 1),
        ("a" * 152 + "€" + "a" * 10, 2),
    ],
)
def test_a_text_has_the_parts_of_the_standard(text, parts):
    assert count_segments(text) == parts


@given(gsm7_texts)
def test_gsm7_parts_hold_at_most_153_septets_and_lose_nothing(text):
    parts = split_segments(text)

    assert "".join(parts) == text
    if len(parts) > 1:
        assert all(_septets(part) <= 153 for part in parts)
    else:
        assert _septets(text) <= 160


@given(any_texts.filter(lambda text: not is_gsm7(text)))
def test_ucs2_parts_hold_at_most_67_units_and_split_no_character(text):
    parts = split_segments(text)

    assert "".join(parts) == text
    limit = 67 if len(parts) > 1 else 70
    assert all(_units(part) <= limit for part in parts)


@given(st.one_of(gsm7_texts, any_texts))
def test_no_part_could_take_the_next_ones_first_character(text):
    parts = split_segments(text)
    limit, width = (153, _septets) if is_gsm7(text) else (67, _units)

    for part, following in pairwise(parts):
        assert width(part + following[0]) > limit


def test_every_real_text_has_the_parts_that_smsutil_finds():
    lines = shared_file("data/sms_corpus.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t", 1)[1] for line in lines]

    disagreements = [
        text for text in texts if count_segments(text) != len(smsutil.split(text).parts)
    ]

    assert texts
    assert disagreements == []


def _septets(text: str) -> int:
    return sum(2 if character in GSM7_EXTENSION else 1 for character in text)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
