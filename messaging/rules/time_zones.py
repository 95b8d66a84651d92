"""The time zones that a recipient may be in, as far as the address shows. Pure.

The zones of a country come from the tz database. phonenumbers knows the areas of
landlines, and of all numbers in North America. For whole calling codes it has only the
zones that the code's countries share, and for some a neighbour's (Paris for Algeria,
whose summer time differs).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

from messaging.rules.quiet_hours import is_time_zone
from routing.vocabulary import Channel

Zones = tuple[str, ...]

# Every tenth day for three years from when this was written; older rules do not matter.
_MOMENTS = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(10 * n) for n in range(110)]

# In the tz database because some people there use them besides official time: all of
# China has Beijing's, and +380 has Kyiv's.
_UNOFFICIAL = {"Asia/Urumqi", "Europe/Simferopol"}


# For Indonesia's handsets, phonenumbers gives the capital's zone, or two of three, by
# prefixes that show the operator but hardly the place: Papua is two hours ahead.
_NO_AREAS = {62}


def zones_of(channel: Channel, recipient: str, country: str, *, now: datetime) -> Zones:
    """All zones that the recipient may be in; none if the address shows nothing.

    A number shows its area, or only its country if handsets have no area. For an
    e-mail the country counts, if all clocks there show the same time now.
    """
    zones = _clocks_of_country(country)
    if channel != Channel.EMAIL:
        return zones if len(zones) == 1 else _zones_of_number(recipient, country)
    offsets = {now.astimezone(ZoneInfo(zone)).utcoffset() for zone in zones}
    return zones[:1] if len(offsets) == 1 else ()


def _zones_of_number(text: str, country: str) -> Zones:
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return ()
    # Countries may share a calling code, such as +1 or +44: use the number's own.
    country = country or phonenumbers.region_code_for_number(number) or ""
    area = set(_zones_of_area(number))
    found = tuple(zone for zone in _zones_of_country(country) if zone in area)
    return found or _clocks_of_country(country)


def _zones_of_area(number: phonenumbers.PhoneNumber) -> Zones:
    """The zones of the number's area, if it belongs to a part of its calling code."""
    if number.country_code in _NO_AREAS and _is_mobile(number):
        return ()
    zones = time_zones_for_number(number)
    whole = TIMEZONE_DATA.get(str(number.country_code), ())
    return () if set(zones) >= set(whole) else zones


def _is_mobile(number: phonenumbers.PhoneNumber) -> bool:
    return phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE


@cache
def _clocks_of_country(country: str) -> Zones:
    """A country's zones, one for all with the same clock: Germany has two of those."""
    clocks: dict[tuple[timedelta | None, ...], str] = {}
    for zone in _zones_of_country(country):
        clocks.setdefault(_offsets(zone), zone)
    return tuple(clocks.values())


def _offsets(zone: str) -> tuple[timedelta | None, ...]:
    """The zone's offsets at enough moments to distinguish it from others."""
    return tuple(each.astimezone(ZoneInfo(zone)).utcoffset() for each in _MOMENTS)


@cache
def _zones_of_country(country: str) -> Zones:
    """The country's zones that this host knows, those of phonenumbers first."""
    code = phonenumbers.country_code_for_region(country)
    known = TIMEZONE_DATA.get(str(code), ())
    # Kosovo, Ascension and Tristan da Cunha are not in ISO 3166.
    zones = _tz_database().get(country) or known
    return tuple(
        filter(is_time_zone, sorted(zones, key=lambda each: each not in known))
    )


@cache
def _tz_database() -> dict[str, list[str]]:
    """The zones of each country."""
    zones = defaultdict(list)
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if not line.startswith("#"):
            country, _, zone, *_ = line.split("\t")
            zones[country].append(zone)
    return {
        country: [each for each in names if each not in _UNOFFICIAL]
        for country, names in zones.items()
    }
