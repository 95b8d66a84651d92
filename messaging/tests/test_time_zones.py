"""Where a recipient's clock stands, by number or country."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.time_zones import zones_of
from routing.vocabulary import Channel

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def zones(number):
    return zones_of(Channel.SMS, number, "", now=NOW)


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
    assert {"Australia/Perth", "Australia/Sydney"} <= set(zones("+61412345678"))
    assert {"Europe/Madrid", "Atlantic/Canary"} == set(zones("+34612345678"))


@pytest.mark.parametrize("number", ["", "+", "12", "+1", "+999123456789", "somebody"])
def test_what_is_no_number_of_a_country_tells_nothing(number):
    assert zones(number) == ()


@pytest.mark.parametrize(
    ("country", "found"),
    [
        ("DE", ("Europe/Berlin",)),
        ("GB", ("Europe/London",)),
        ("NO", ("Europe/Oslo",)),
        ("US", ()),  # clocks differ
        ("ES", ()),
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
