"""A handset has one key, for all of its numbers."""

from __future__ import annotations

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.text.recipient_keys import handset_of, spellings_of

# From the numbering plans: today's number, and another one of the same handset.
PAIRS = [
    ("+525512345678", "+5215512345678"),
    ("+525512345678", "+520445512345678"),
    ("+5491123456789", "+541123456789"),
    ("+5491123456789", "+54111523456789"),
    ("+5492213456789", "+54221153456789"),
    ("+5492901456789", "+54290115456789"),
    ("+5511981234567", "+551181234567"),
    ("+390612345678", "+39612345678"),
    ("+2290197123456", "+22997123456"),
    ("+2250707123456", "+22507123456"),
    ("+2250544123456", "+22544123456"),
    ("+2250102123456", "+22502123456"),
    ("+2252720312345", "+22520312345"),
    ("+24166123456", "+24106123456"),
    ("+24174123456", "+2414123456"),
    ("+237677123456", "+23777123456"),
    ("+242066123456", "+24266123456"),
    ("+970599123456", "+972599123456"),
    ("+590690123456", "+33690123456"),
    ("+262692123456", "+33692123456"),
    ("+84382345678", "+841682345678"),
    ("+84782345678", "+841282345678"),
    ("+84822345678", "+841292345678"),
]


@pytest.mark.parametrize(("number", "spelling"), PAIRS)
def test_a_handset_has_one_key_for_all_its_numbers(number, spelling):
    assert handset_of(spelling) == handset_of(number)
    assert {number, spelling} <= spellings_of(number) == spellings_of(spelling)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+551132345678", "+5511932345678"),  # a landline has no ninth digit
        ("+393312345678", "+3903312345678"),  # an Italian mobile has no zero
        ("+33612345678", "+590612345678"),
        ("+2250707123456", "+2250507123456"),
        ("+972501234567", "+970501234567"),
        ("+14155552671", "+4155552671"),
    ],
)
def test_two_handsets_have_two_keys(one, other):
    assert handset_of(one) != handset_of(other)
    assert not spellings_of(one) & spellings_of(other)


def test_the_number_of_a_mobile_is_its_own_key(subtests):
    # Gabon's and Argentina's examples are numbers of an old format.
    for region in phonenumbers.SUPPORTED_REGIONS - {"GA", "AR"}:
        number = mobile_of(region)
        with subtests.test(region=region):
            assert handset_of(number) == number


def mobile_of(region):
    mobile = phonenumbers.PhoneNumberType.MOBILE
    return phonenumbers.format_number(
        phonenumbers.example_number_for_type(region, mobile)
        or phonenumbers.example_number(region),
        phonenumbers.PhoneNumberFormat.E164,
    )


beginnings = st.sampled_from(sorted({number[:4] for pair in PAIRS for number in pair}))


@given(beginnings, st.from_regex(re.compile(r"[0-9]{3,11}"), fullmatch=True))
def test_a_key_is_its_own_key_and_one_of_the_spellings(beginning, rest):
    key = handset_of(beginning + rest)

    assert handset_of(key) == key
    assert key in spellings_of(beginning + rest)
    assert {handset_of(each) for each in spellings_of(key)} == {key}
