"""The fast path for clean numbers agrees with the full parser."""

from __future__ import annotations

import random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from messaging.rules.numbering_plans import country_of
from routing.text.phone_numbers import NotANumber, NumberKind, read_number

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def assert_the_same(text):
    """A handset's number gets the same country; others are left to the parser."""
    country = country_of(text)
    try:
        number = read_number(text)
    except NotANumber:
        assert country is None
        return
    if country is not None:
        assert number == (text, country, NumberKind.HANDSET)
    if number.kind != NumberKind.HANDSET:
        assert country is None


def examples_of(region):
    kinds = range(PhoneNumberType.VOICEMAIL + 1)
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in kinds]
    return [
        phonenumbers.format_number(each, PhoneNumberFormat.E164)
        for each in examples
        if each is not None
    ]


def test_all_near_a_regions_numbers_are_as_they_are_read(subtests):
    for region in REGIONS:
        with subtests.test(region=region):
            for number in numbers_near(region):
                assert_the_same(number)


def numbers_near(region):
    chance = random.Random(region)
    for example in examples_of(region):
        yield example
        for _ in range(20):
            position = chance.randrange(2, len(example))
            digits = str(chance.randrange(10 ** chance.choice([0, 1, 1, 2])))
            yield example[:position] + digits + example[position + 1 :]


@pytest.mark.parametrize("region", ["US", "CA", "DE", "GB", "FR", "IN", "ES", "NG"])
def test_a_regions_mobile_numbers_need_not_be_read(region):
    metadata = PhoneMetadata.metadata_for_region(region)
    example = f"+{metadata.country_code}{metadata.mobile.example_number}"

    assert country_of(example) == region


@given(
    st.sampled_from(CODES),
    st.text("0123456789", min_size=4, max_size=13),
)
def test_any_digits_are_as_they_are_read(code, national):
    assert_the_same(f"+{code}{national}")


@pytest.mark.parametrize(
    "text", ["", "+", "14155552671", "+1415 5552671", "+1４155552671", "+14155552671\n"]
)
def test_what_is_not_clean_is_left_to_be_read(text):
    assert country_of(text) is None


@pytest.mark.parametrize("text", ["+390612345678", "+80012345678", "+999123456789"])
def test_zeros_and_codes_without_a_country_are_left_to_be_read(text):
    assert country_of(text) is None
