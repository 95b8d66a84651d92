"""A recipient's time zone, by number or country."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from messaging.rules.time_zones import zones_of
from routing.vocabulary import Channel

# Countries whose clocks differ.
LARGE = {
    *("AU", "BR", "CA", "CD", "CL", "EC", "ES", "FM", "GL", "ID", "KI"),
    *("MN", "MX", "NZ", "PF", "PG", "PT", "RU", "US"),
}
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def zones(number, country=""):
    return zones_of(Channel.SMS, number, country, now=NOW)


def mail_zones(country):
    return zones_of(Channel.EMAIL, "ada@example.com", country, now=NOW)


@pytest.mark.parametrize(
    ("number", "zone"),
    [
        ("+14155552671", "America/Los_Angeles"),
        ("+12125552671", "America/New_York"),
        ("+4915112345678", "Europe/Berlin"),
        ("+447400123456", "Europe/London"),
        ("+5511961234567", "America/Sao_Paulo"),
    ],
)
def test_a_number_tells_its_zone(number, zone):
    assert zones(number) == (zone,)


def test_a_mobile_number_may_be_anywhere_in_its_country():
    australia = set(zones("+61412345678", "AU"))
    assert {"Australia/Perth", "Australia/Darwin", "Australia/Sydney"} <= australia
    assert not {"Indian/Cocos", "Indian/Christmas"} & australia
    assert zones("+34612345678", "ES") == ("Europe/Madrid", "Atlantic/Canary")
    indonesia = {"Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"}
    assert set(zones("+6281248123456", "ID")) == indonesia
    assert zones("+62215350345", "ID") == ("Asia/Jakarta",)


@pytest.mark.parametrize(
    ("number", "country", "zone"),
    [
        ("+18762101234", "JM", "America/Jamaica"),
        ("+17872345678", "PR", "America/Puerto_Rico"),
        ("+16713001234", "GU", "Pacific/Guam"),
        ("+77710009998", "KZ", "Asia/Almaty"),
        ("+447797712345", "JE", "Europe/Jersey"),
        ("+390669812345", "VA", "Europe/Vatican"),
        ("+4779012345", "SJ", "Arctic/Longyearbyen"),
        ("+61891641234", "CX", "Indian/Christmas"),
        ("+61891621234", "CC", "Indian/Cocos"),
        ("+212650123456", "MA", "Africa/Casablanca"),
        ("+262639012345", "YT", "Indian/Mayotte"),
        ("+2908999", "TA", "Atlantic/St_Helena"),
        ("+35818123456", "AX", "Europe/Mariehamn"),
        ("+590690001234", "GP", "America/Guadeloupe"),
        ("+5993181234", "BQ", "America/Kralendijk"),
    ],
)
def test_of_countries_that_share_a_code_the_numbers_own_counts(number, country, zone):
    assert zones(number, country) == (zone,)
    assert zones(number) == (zone,)  # also where the row has none


def handset_of(country):
    example = phonenumbers.example_number_for_type(
        country, PhoneNumberType.MOBILE
    ) or phonenumbers.example_number(country)
    return phonenumbers.format_number(example, PhoneNumberFormat.E164)


def test_a_country_of_one_time_has_it_for_all_its_handsets():
    countries = phonenumbers.SUPPORTED_REGIONS - LARGE
    several = {c for c in countries if len(zones(handset_of(c), c)) != 1}
    assert not several


@pytest.mark.parametrize(
    ("country", "zone"),
    [
        ("DZ", "Africa/Algiers"),
        ("EH", "Africa/El_Aaiun"),
        ("LY", "Africa/Tripoli"),
        ("NI", "America/Managua"),
        ("SS", "Africa/Juba"),
        ("PS", "Asia/Gaza"),
    ],
)
def test_a_country_has_its_own_clock_and_not_a_neighbours(country, zone):
    assert mail_zones(country) == (zone,)


@pytest.mark.parametrize("number", ["", "+", "12", "+1", "+999123456789", "somebody"])
def test_what_is_no_number_of_a_country_tells_nothing(number):
    assert zones(number) == ()


@pytest.mark.parametrize(
    ("country", "found"),
    [
        ("GB", ("Europe/London",)),
        ("NO", ("Europe/Oslo",)),
        ("US", ()),  # clocks differ
        ("ES", ()),
        ("CN", ("Asia/Shanghai",)),  # by law, although Xinjiang has another in use
        ("DE", ("Europe/Berlin",)),
        ("XK", ("Europe/Belgrade",)),
        ("", ()),
        ("XX", ()),
    ],
)
def test_an_email_is_where_its_country_has_one_time(country, found):
    assert mail_zones(country) == found


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_whatever_the_number_this_host_knows_its_zones(number):
    for zone in zones(number):
        assert NOW.astimezone(ZoneInfo(zone)).utcoffset() is not None
