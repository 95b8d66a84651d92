"""Quiet hours: the local times at which no marketing is sent. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
_WAIT = re.compile(r"Quiet hours until ([0-9]{2}:[0-9]{2}) in (\S+)\.")
# Zones whose waking hours do not overlap within two nights never do.
_LONGEST = timedelta(days=2)


@cache
def is_time_zone(name: str) -> bool:
    """Whether this host knows a time zone of this name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # no such file, no path, no such zone
        return False
    return True


class QuietHoursError(ValueError):
    """The text does not give valid quiet hours."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one local time to just before another; past midnight if that is earlier."""

    start: time
    end: time

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise QuietHoursError(
                "Quiet hours must not end at the time that they begin. Use times such "
                "as 21:00-08:00."
            )

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """Read what people write, such as 21:00-08:00."""
        try:
            if match := _SPAN.fullmatch(text.strip()):
                hour, minute, end_hour, end_minute = map(int, match.groups())
                return cls(time(hour, minute), time(end_hour, end_minute))
        except QuietHoursError:
            raise
        except ValueError:
            pass  # not a time of day
        raise QuietHoursError(
            f"{text[:40]!r} is not a span such as 21:00-08:00, in the recipients' "
            "local time."
        )

    def cover(self, wall: time) -> bool:
        """Whether this time of day is in quiet hours."""
        if self.start < self.end:
            return self.start <= wall < self.end
        return wall >= self.start or wall < self.end


@dataclass(frozen=True, slots=True)
class Quiet:
    """It is quiet now in this zone, until then."""

    until: datetime
    zone: str

    def __str__(self) -> str:
        until = self.until.astimezone(ZoneInfo(self.zone))
        return f"Quiet hours until {until:%H:%M} in {self.zone}."


@lru_cache(maxsize=256)  # most messages of a claim share a few zones and one moment
def quiet_at(
    hours: QuietHours, now: datetime, *, zones: tuple[str, ...], home: str
) -> Quiet | None:
    """Whether it is quiet for a recipient who may be in any of these zones.

    It is quiet as long as it is in one of them. `home` is used if there are no zones,
    or if they are so far apart that no time suits all (a continent-wide number).
    """
    quiet, moment = None, now
    while ends := [
        Quiet(_end(hours, moment, zone), zone)
        for zone in zones or (home,)
        if hours.cover(_wall(moment, zone))
    ]:
        quiet = max(ends, key=lambda each: each.until)
        moment = quiet.until
        if moment - now > _LONGEST:
            return quiet_at(hours, now, zones=(home,), home=home)
    return quiet


@lru_cache(maxsize=256)
def is_outdated(reason: str, hours: QuietHours | None, now: datetime) -> bool:
    """Whether a message that waits for this reason waits for other quiet hours.

    True if in doubt: a message checked again for nothing just goes on waiting.
    """
    wait = _WAIT.fullmatch(reason)
    if wait is None:
        return False
    end, zone = wait.groups()
    if hours is None or end != f"{hours.end:%H:%M}" or not is_time_zone(zone):
        return True
    return not hours.cover(_wall(now, zone))


def _end(hours: QuietHours, now: datetime, zone: str) -> datetime:
    """When the current quiet hours end.

    A time that clocks skip is read with the offset from before the change (RFC 5545,
    3.3.5); for a time that they show twice, either may be the end.
    """
    today = now.astimezone(ZoneInfo(zone)).date()
    ends = [
        datetime.combine(day, hours.end, ZoneInfo(zone)).replace(fold=fold)
        for day in (today, today + timedelta(days=1), today + timedelta(days=2))
        for fold in (0, 1)
    ]
    return min(
        end
        for end in (each.astimezone(UTC) for each in ends)
        if end > now and not hours.cover(_wall(end, zone))
    )


def _wall(moment: datetime, zone: str) -> time:
    return moment.astimezone(ZoneInfo(zone)).time()
