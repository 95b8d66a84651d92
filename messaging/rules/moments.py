"""Points in time, for people to read. Pure."""

from __future__ import annotations

from datetime import datetime


def moment(at: datetime, *, now: datetime) -> str:
    """Such as "07:24 UTC", in the time zone of `at`; with the day if it is not that of
    `now`.
    """
    is_today = at.date() == now.astimezone(at.tzinfo).date()
    day = "" if is_today else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M %Z}"
