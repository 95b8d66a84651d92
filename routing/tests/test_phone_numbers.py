"""A number is read exactly as written, or refused."""

from __future__ import annotations

import random
import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from routing.text.phone_numbers import (
    NotANumber,
    NumberKind,
    PhoneNumber,
    read_number,
)

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = {
    PhoneNumberType.FIXED_LINE: NumberKind.LANDLINE,
    PhoneNumberType.MOBILE: NumberKind.HANDSET,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberKind.HANDSET,
    PhoneNumberType.TOLL_FREE: NumberKind.FREEPHONE,
    PhoneNumberType.PREMIUM_RATE: NumberKind.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberKind.SHARED_COST,
    PhoneNumberType.VOIP: NumberKind.INTERNET,
    PhoneNumberType.PERSONAL_NUMBER: NumberKind.PERSONAL,
    PhoneNumberType.PAGER: NumberKind.PAGER,
    PhoneNumberType.UAN: NumberKind.COMPANY,
    PhoneNumberType.VOICEMAIL: NumberKind.VOICEMAIL,
}
FORMATS = [
    PhoneNumberFormat.E164,
    PhoneNumberFormat.INTERNATIONAL,
    PhoneNumberFormat.NATIONAL,
]


def reading(text, region=""):
    """The number in E.164, or None if it is refused."""
    try:
        return read_number(text, region).text
    except NotANumber:
        return None


def e164(number):
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def handset_of(region):
    return phonenumbers.example_number_for_type(
        region, PhoneNumberType.MOBILE
    ) or phonenumbers.example_number(region)


def numbers_of(region):
    """Examples of every kind, and misspelt ones."""
    chance, code = random.Random(region), phonenumbers.country_code_for_region(region)
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in KINDS]
    for example in map(e164, filter(None, examples)):
        yield example
        for _ in range(5):
            place = chance.randrange(len(f"+{code}"), len(example))
            slip = str(chance.randrange(10 ** chance.choice([0, 1, 1, 2])))
            yield example[:place] + slip + example[place + 1 :]


def test_a_number_keeps_every_digit_with_its_plus_or_without(subtests):
    for region in REGIONS:
        with subtests.test(region=region):
            for text in numbers_of(region):
                assert_every_digit_is_kept(text, region)


def assert_every_digit_is_kept(text, region):
    code = str(phonenumbers.country_code_for_region(region))
    if reading(text):
        assert reading(text.removeprefix("+"), region) in {text, None}
    for written in (text, f"+{code}{text[1:]}", text.replace(code, f"{code}0", 1)):
        assert reading(written, region) in {written, None}


def test_a_regions_number_is_known_however_it_is_written(subtests):
    for region in REGIONS:
        example = handset_of(region)
        abroad = f"00{e164(example)[1:]}"
        written = [phonenumbers.format_number(example, each) for each in FORMATS]
        with subtests.test(region=region):
            assert {reading(text, region) for text in written} == {e164(example)}
            assert reading(abroad, "DE") == e164(example)


@pytest.mark.parametrize(
    ("text", "region", "meant"),
    [
        ("491701234567", "DE", ["+49491701234567", "+491701234567"]),
        ("4915123456789", "DE", ["+494915123456789", "+4915123456789"]),
        ("62812345678", "ID", ["+6262812345678", "+62812345678"]),
        ("38343107248", "XK", ["+38338343107248", "+38343107248"]),
        ("447400123456", "DE", ["+49447400123456", "+447400123456"]),
        ("00918123857516", "CO", ["+18123857516", "+918123857516"]),  # 009 or 00
        ("0012015552818", "GY", ["+2015552818", "+12015552818"]),
        ("00918123456753", "ID", ["+18123456753", "+918123456753"]),
    ],
)
def test_what_may_be_two_numbers_is_refused_and_both_are_named(text, region, meant):
    with pytest.raises(NotANumber) as refusal:
        read_number(text, region)

    assert f"may be {meant[0]} or {meant[1]}: write the right" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("+1 (415) 555-2671", "", "+14155552671"),
        ("415.555.2671", "US", "+14155552671"),
        ("1 415 555 2671", "US", "+14155552671"),
        ("447400123456", "GB", "+447400123456"),
        (" +49 (0)151 12345678 ", "", "+4915112345678"),
        ("0049 (0) 151 12345678", "DE", "+4915112345678"),
        ("49 (0)151 12345678", "DE", "+4915112345678"),
        ("040 (0) 1234567", "DE", "+494001234567"),  # not Romania's zero, +40
        ("44 [0] 7400 123456", "", "+447400123456"),
        ("(+49) 151/12345678", "", "+4915112345678"),
        ("0049 1511 2345678", "DE", "+4915112345678"),
        ("15112345678", "DE", "+4915112345678"),  # a spreadsheet removed its zero
        ("011 49 1511 2345678", "US", "+4915112345678"),
        ("0011 49 1511 2345678", "AU", "+4915112345678"),
        ("8~10 49 1511 2345678", "RU", "+4915112345678"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("011 15 2345-6789", "AR", "+5491123456789"),
        ("0 15 11 96123-4567", "BR", "+5511961234567"),  # by a carrier
        ("06 20 123 4567", "HU", "+36201234567"),
        ("06 698 12345", "IT", "+390669812345"),
        ("'+4915112345678", "", "+4915112345678"),
        ("+44 7400 123456", "US", "+447400123456"),
        ("+49\u00a0151\u202f1234\u20115678", "", "+4915112345678"),
        ("\ufeff\u202a+14155552671\u202c\u200b", "", "+14155552671"),
        ("+１４１５５５５２６７１", "", "+14155552671"),
        ("٠١٥١١٢٣٤٥٦٧٨", "DE", "+4915112345678"),
    ],
)
def test_a_number_as_people_write_it_becomes_e164(text, region, expected):
    assert reading(text, region) == expected


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("+49 0151 12345678", "+4915112345678"),
        ("+44 07400 123456", "+447400123456"),
        ("+7 8 912 345-67-89", "+79123456789"),
        ("+36 06 20 123 4567", "+36201234567"),
        ("+1 1 415 555 2671", "+14155552671"),
        ("+54 11 15 2345-6789", "+5491123456789"),
        ("+55 0 15 11 96123-4567", "+5511961234567"),
    ],
)
def test_a_plus_with_what_is_dialled_at_home_is_refused_with_what_may_be_meant(
    text, meant
):
    with pytest.raises(NotANumber, match=rf"if you mean \{meant}, write that"):
        read_number(text)


@pytest.mark.parametrize(
    "text",
    ["4.91701E+11", "4,91701E+11", "4E11", "491701234567.0", "+4915112345678.00"],
)
def test_what_a_spreadsheet_took_for_an_amount_is_refused_with_the_remedy(text):
    with pytest.raises(NotANumber, match="a spreadsheet changed it to an amount; "):
        read_number(text, "DE")


@pytest.mark.parametrize(
    "text",
    [
        "+14155552671 ext 5",
        "+14155552671x5",
        "+14155552671#5",
        "+14155552671;ext=5",
        "tel:+14155552671",
        "John +14155552671",
        "+1 800 FLOWERS",
        "+14155552671 or +14155552672",
        "+14155552671, +14155552672",
        "+1415555267/1",
        "415555\n2671",  # two lines are two numbers
        "415555\r\n2671",
        "+4915112345678²",
        "++14155552671",
        "1+4155552671",
        "*31#4155552671",
        "x1 (0) 4155552671",
    ],
)
def test_a_number_with_anything_besides_is_refused_and_never_cut(text):
    with pytest.raises(NotANumber, match="one number without letters or an extension"):
        read_number(text, "US")


@pytest.mark.parametrize(
    ("text", "region", "why"),
    [
        ("+1", "", "with its +country code"),
        ("+1415555267", "", "with its +country code"),
        ("+141555526711", "", "with its +country code"),
        ("+999123456789", "", "with its +country code"),
        ("hello", "", "with its +country code"),
        ("491701234567", "", "with its +country code"),
        ("0049 170 1234567", "", "with its +country code"),
        ("+4 (0) 170", "", "with its +country code"),
        ("1", "DE", "in DE"),
        ("447400123456", "FR", "in FR"),
        ("061 (0) 234 56 78", "CH", "in CH"),
        ("020 (0)7183 8750", "GB", "in GB"),
    ],
)
def test_what_is_no_number_is_refused(text, region, why):
    with pytest.raises(NotANumber, match=rf"not a valid phone number {re.escape(why)}"):
        read_number(text, region)


@pytest.mark.parametrize("code", sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS))
def test_a_number_of_the_whole_world_has_no_country_and_is_no_handset(code):
    text = e164(phonenumbers.example_number_for_non_geo_entity(code))
    costs = {808: NumberKind.SHARED_COST, 979: NumberKind.PREMIUM}

    expected = PhoneNumber(text, "", costs.get(code, NumberKind.WORLDWIDE))
    assert read_number(text) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_regions_numbers_are_known_by_their_kind(kind):
    for region in REGIONS:
        example = phonenumbers.example_number_for_type(region, kind)
        is_plain = example and phonenumbers.number_type(example) == kind
        assert not is_plain or read_number(e164(example)).kind == KINDS[kind]


def test_the_numbers_of_twilios_test_account_may_be_written_to():
    assert read_number("+15005550009").kind == NumberKind.HANDSET
    assert read_number("+15005560009").kind == NumberKind.PERSONAL


@given(
    st.text("+0123456789()/ .-'\u200e٣４²Ee,x", max_size=30),
    st.sampled_from(["", *REGIONS]),
)
def test_any_text_is_one_valid_number_or_refused(text, region):
    if found := reading(text, region):
        assert phonenumbers.is_valid_number(phonenumbers.parse(found))
        assert reading(found) == found


@pytest.mark.parametrize("junk", ["/", "(", " (0)", "1", "+", "\u200b", "e", "."])
def test_a_cell_of_junk_is_refused_at_once(junk):
    assert reading(junk * 10_000, "DE") is None
