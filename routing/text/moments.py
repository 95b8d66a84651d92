"""Points in time, for people to read. Pure.

Text that is stored, or made where nobody knows who reads it, has UTC and says so.
"""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: datetime, *, now: datetime) -> str:
    """Such as "07:24 UTC", in the time zone of `at`; with the day if it is not that of
    `now`.
    """
    is_today = at.date() == now.astimezone(at.tzinfo).date()
    day = "" if is_today else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M %Z}"


def utc_moment(at: datetime, *, now: datetime) -> str:
    """The same in UTC."""
    return moment(at.astimezone(UTC), now=now)


def utc_clock(at: datetime) -> str:
    """Such as "07:24:30 UTC"."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"
