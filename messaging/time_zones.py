"""Which time zones a recipient may be in, as far as the address tells. Pure."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

from messaging.quiet_hours import is_time_zone
from routing.vocabulary import Channel

Zones = tuple[str, ...]

# Other names of London's, Oslo's, Helsinki's and Rome's clocks, which people know by
# those.
_NAMESAKES = {
    "Arctic/Longyearbyen",
    "Europe/Guernsey",
    "Europe/Isle_of_Man",
    "Europe/Jersey",
    "Europe/Mariehamn",
    "Europe/Vatican",
}


def zones_of(channel: Channel, recipient: str, country: str, *, now: datetime) -> Zones:
    """All that it may be; none where the address tells nothing.

    A number tells its area, or its whole country where it may be taken along. For an
    e-mail its country counts, if all clocks there show the same now.
    """
    if channel != Channel.EMAIL:
        return _zones_of_number(recipient)
    zones = _zones_of_country(country)
    offsets = {now.astimezone(ZoneInfo(zone)).utcoffset() for zone in zones}
    return zones[:1] if len(offsets) == 1 else ()


def _zones_of_number(number: str) -> Zones:
    try:
        return _known(time_zones_for_number(phonenumbers.parse(number)))
    except phonenumbers.NumberParseException:
        return ()


@cache
def _zones_of_country(country: str) -> Zones:
    code = phonenumbers.country_code_for_region(country)
    return _known(TIMEZONE_DATA.get(str(code), ()))


def _known(zones: Zones) -> Zones:
    """Those that this host has the rules of, each clock once; `Etc/Unknown` is none."""
    known = [zone for zone in zones if is_time_zone(zone)]
    return tuple(zone for zone in known if zone not in _NAMESAKES or len(known) == 1)
