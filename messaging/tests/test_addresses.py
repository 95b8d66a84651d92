"""Addresses in the one form that the rest of the house knows."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.addresses import Address, AddressError, parse_address
from messaging.models import CampaignMessage
from routing.vocabulary import Channel

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
WIDTH_OF_COUNTRY = CampaignMessage._meta.get_field("country").max_length
FORMATS = [
    phonenumbers.PhoneNumberFormat.E164,
    phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    phonenumbers.PhoneNumberFormat.NATIONAL,
]


def number(text, *, region=""):
    return parse_address(Channel.SMS, text, region=region)


def email(text):
    return parse_address(Channel.EMAIL, text)


@pytest.mark.parametrize("region", REGIONS)
def test_a_regions_mobile_number_is_known_however_it_is_written(region):
    example = phonenumbers.example_number_for_type(
        region, phonenumbers.PhoneNumberType.MOBILE
    ) or phonenumbers.example_number(region)
    country = phonenumbers.region_code_for_number(example)
    expected = Address(
        phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164),
        country,
    )

    written = [phonenumbers.format_number(example, each) for each in FORMATS]

    assert {number(text, region=region) for text in written} == {expected}


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("+1 (415) 555-2671", "", Address("+14155552671", "US")),
        ("415.555.2671", "us", Address("+14155552671", "US")),
        (" +49 (0)151 12345678 ", "", Address("+4915112345678", "DE")),
        ("0049 1511 2345678", " DE ", Address("+4915112345678", "DE")),
        ("+44 7400 123456", "US", Address("+447400123456", "GB")),
        ("\u202a+14155552671\u202c", "", Address("+14155552671", "US")),
        ("+１４１５５５５２６７１", "", Address("+14155552671", "US")),
    ],
)
def test_a_number_as_people_write_it_becomes_e164(text, region, expected):
    assert number(text, region=region) == expected


@pytest.mark.parametrize(
    "text",
    [
        "+1",
        "+1415555267",
        "+141555526711",
        "+999123456789",
        "hello",
        "ann@example.com",
        "+" * 300,
        "1" * 300,
    ],
)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(AddressError, match="not a valid phone number"):
        number(text)


@pytest.mark.parametrize(
    "text",
    [
        "+14155552671 ext 5",
        "+14155552671#5",
        "+14155552671;ext=5",
        "John +14155552671",
        "+1 800 FLOWERS",
        "+14155552671 or +14155552672",
        "+14155552671, +14155552672",
        "4.155552671E+11",
    ],
)
def test_a_number_with_anything_besides_is_refused_and_never_cut(text):
    with pytest.raises(AddressError, match="not a valid phone number"):
        number(text, region="US")


def test_a_national_number_needs_a_region():
    with pytest.raises(AddressError, match=r"with its \+country code"):
        number("415 555 2671")


def test_a_number_of_another_region_is_refused_with_the_region_that_was_meant():
    with pytest.raises(AddressError, match="not a valid phone number in DE"):
        number("1", region="de")


@pytest.mark.parametrize("region", ["XX", "UK", "GERMANY", "001"])
def test_a_region_is_a_country_code(region):
    with pytest.raises(AddressError, match="is not a country code such as DE or US"):
        number("+14155552671", region=region)


@pytest.mark.parametrize("code", sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS))
def test_a_number_of_the_whole_world_has_no_country(code):
    example = phonenumbers.example_number_for_non_geo_entity(code)
    text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)

    assert number(text) == Address(text, "")


@given(st.text(max_size=60), st.sampled_from(["", "US", "DE", "IT", "AR"]))
def test_any_text_is_a_number_that_parses_to_itself_or_is_refused(text, region):
    try:
        address = number(text, region=region)
    except AddressError:
        return
    assert number(address.text) == address
    assert address.text.startswith("+")
    assert len(address.country) <= WIDTH_OF_COUNTRY


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@example.com", "ann@example.com"),
        ("  Ann.Lee+News@Example.COM ", "ann.lee+news@example.com"),
        ("o'hara@example.co.uk", "o'hara@example.co.uk"),
        ("\ufeffada@exam\u00adple.com\u200b", "ada@example.com"),
        ("bob@BÜCHER.example.", "bob@xn--bcher-kva.example"),
    ],
)
def test_an_e_mail_address_takes_its_one_form(text, expected):
    assert email(text) == Address(expected)


@pytest.mark.parametrize(
    "text",
    [
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@@example.com",
        "ann lee@example.com",
        "Ann <ann@example.com>",
        "ann@example.com, bob@example.com",
        "ann@example.com\nBcc: bob@example.com",
        "ann@exam\0ple.com",
        "+14155552671",
    ],
)
def test_what_is_no_e_mail_address_is_refused(text):
    with pytest.raises(AddressError, match="is not an e-mail address"):
        email(text)


@pytest.mark.parametrize(
    ("region", "country"),
    [("DE", "DE"), (" us ", "US"), ("", ""), ("Germany", ""), ("UK", "")],
)
def test_an_e_mail_is_at_home_where_its_list_says_by_a_code(region, country):
    address = parse_address(Channel.EMAIL, "ann@example.com", region=region)

    assert address == Address("ann@example.com", country)


def test_an_e_mail_address_fits_its_column():
    longest = f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com"
    assert len(email(longest).text) == 254

    with pytest.raises(AddressError, match="longer than 254 characters"):
        email(longest.replace("ddd.com", "dddd.com"))


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("text", ["", " \t "])
def test_an_empty_address_is_refused(channel, text):
    with pytest.raises(AddressError, match="the address is empty"):
        parse_address(channel, text)


@given(st.text(max_size=60), st.sampled_from(Channel))
def test_a_refusal_is_one_line_of_readable_length(text, channel):
    try:
        parse_address(channel, text * 100)
    except AddressError as refusal:
        assert len(str(refusal).splitlines()) == 1
        assert len(str(refusal)) < 500
