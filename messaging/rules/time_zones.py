"""Which time zones a recipient may be in, as far as the address tells. Pure.

Which zones a country has is read from the tz database, whose rules clocks follow.
phonenumbers knows the areas of landlines, and of all numbers in North America; for
whole calling codes it has only what the code's countries share, and a neighbour's clock
for some (Paris for Algeria, whose summers differ).
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

# Every tenth day from when this was written; rules of before do not matter.
_MOMENTS = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(10 * n) for n in range(110)]

# In the tz database for what some people there keep to, beside their country's time:
# all of China has Beijing's, and +380 Kyiv's.
_UNOFFICIAL = {"Asia/Urumqi", "Europe/Simferopol"}


# Of Indonesia's handsets phonenumbers names the capital's zone, or two of three, by
# prefixes that say which operator it was, and little of where: Papua is two hours
# ahead.
_TAKEN_ALONG = {62}


def zones_of(channel: Channel, recipient: str, country: str, *, now: datetime) -> Zones:
    """All that it may be; none where the address tells nothing.

    A number tells its area, or its whole country where it may be taken along. For an
    e-mail its country counts, if all clocks there show the same now.
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
    # Many countries share a calling code, +1 or +44: the number's own is what counts.
    country = country or phonenumbers.region_code_for_number(number) or ""
    area = set(_zones_of_area(number))
    found = tuple(zone for zone in _zones_of_country(country) if zone in area)
    return found or _clocks_of_country(country)


def _zones_of_area(number: phonenumbers.PhoneNumber) -> Zones:
    """Where the number is bound to a part of its calling code; else none."""
    if number.country_code in _TAKEN_ALONG and _is_handsets(number):
        return ()
    zones = time_zones_for_number(number)
    whole = TIMEZONE_DATA.get(str(number.country_code), ())
    return () if set(zones) >= set(whole) else zones


def _is_handsets(number: phonenumbers.PhoneNumber) -> bool:
    return phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE


@cache
def _clocks_of_country(country: str) -> Zones:
    """One of all zones that show the same all the time: Germany has two such."""
    clocks: dict[tuple[timedelta | None, ...], str] = {}
    for zone in _zones_of_country(country):
        clocks.setdefault(_offsets(zone), zone)
    return tuple(clocks.values())


def _offsets(zone: str) -> tuple[timedelta | None, ...]:
    """What its clocks show at moments enough to tell it from others."""
    return tuple(each.astimezone(ZoneInfo(zone)).utcoffset() for each in _MOMENTS)


@cache
def _zones_of_country(country: str) -> Zones:
    """Those that this host has the rules of, the best known first."""
    code = phonenumbers.country_code_for_region(country)
    known = TIMEZONE_DATA.get(str(code), ())
    # Kosovo, Ascension and Tristan da Cunha are no countries of ISO 3166.
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
