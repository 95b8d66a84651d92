"""Addresses in the one form that all other code uses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.addresses import (
    Address,
    AddressError,
    address_in,
    parse_address,
    parse_recipient,
)
from messaging.models import CampaignMessage
from routing.vocabulary import Channel

WIDTH_OF_COUNTRY = CampaignMessage._meta.get_field("country").max_length


def number(text, *, region=""):
    return parse_address(Channel.SMS, text, region=region)


def email(text):
    return parse_address(Channel.EMAIL, text)


@pytest.mark.parametrize("region", ["XX", "UK", "GERMANY", "001"])
def test_a_region_is_a_country_code(region):
    with pytest.raises(AddressError, match="is not a country code such as DE or US"):
        number("+14155552671", region=region)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("+449061234567", "premium-rate"),
        ("+19005551234", "premium-rate"),
        ("+979123456789", "premium-rate"),
        ("+4918012345678", "shared-cost"),
        ("+447012345678", "personal number"),
        ("+447640123456", "pager"),
        ("+870773123456", "satellite"),
        ("+881612345678", "satellite"),
        ("+80012345678", "satellite or other number that belongs to no country"),
    ],
)
def test_a_number_that_costs_extra_or_is_nobodys_handset_gets_nothing(
    text, why, settings
):
    settings.SEND_TO_LANDLINES = True

    with pytest.raises(AddressError, match=rf"cannot send to \{text}.*{why}"):
        parse_recipient(Channel.MMS, text)
    assert number(text).text == text  # but it may be suppressed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("+442071838750", "landline"),
        ("+18005551234", "freephone"),
        ("+445612345678", "internet telephony"),
    ],
)
def test_a_landline_gets_messages_only_where_the_settings_say_so(text, why, settings):
    with pytest.raises(AddressError, match=f"{why}.*; set SEND_TO_LANDLINES=1 to send"):
        parse_recipient(Channel.SMS, text)

    settings.SEND_TO_LANDLINES = True
    assert parse_recipient(Channel.SMS, text) == number(text)


@pytest.mark.parametrize("text", ["+14155552671", "+15005550006", "ada@example.com"])
def test_a_handset_may_be_any_number_of_a_plan_that_does_not_tell(text):
    channel = Channel.EMAIL if "@" in text else Channel.SMS
    assert parse_recipient(channel, text).text == text


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


@pytest.mark.parametrize("at", ["@", "＠", "﹫"])
def test_what_has_an_at_sign_of_any_width_is_looked_for_as_an_e_mail_address(at):
    assert address_in(f" Ann{at}Example.com") == "ann@example.com"


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
        assert len(str(refusal)) < 600
