"""Pauses: times in which a person keeps all messages away from a provider.

Pure: values in, values and words out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Pause:
    """From when until when a provider is paused, why and by whom."""

    provider: str
    since: datetime
    until: datetime | None  # None: until a person resumes it
    reason: str
    by: str

    def is_in_force(self, at: datetime) -> bool:
        """Whether the provider is paused by it at that time."""
        return self.since <= at and (self.until is None or at < self.until)


def longest_by_provider(pauses: Iterable[Pause]) -> dict[str, Pause]:
    """Of each provider the one that ends last."""
    found: dict[str, Pause] = {}
    for each in sorted(pauses, key=_end):
        found[each.provider] = each
    return found


def _end(pause: Pause) -> datetime:
    return pause.until or datetime.max.replace(tzinfo=UTC)


def describe(pause: Pause, now: datetime) -> str:
    """For a verdict or a screen: "paused since 09:12 UTC by ada: contract ended; until
    14:00 UTC". Times of another day have their date.
    """
    verb = "paused since" if pause.since <= now else "to be paused from"
    until = f"; until {moment(pause.until, now)}" if pause.until else ""
    by = f" by {pause.by}" if pause.by else ""
    return f"{verb} {moment(pause.since, now)}{by}: {pause.reason.rstrip('.')}{until}"


def moment(at: datetime, now: datetime) -> str:
    """A time in UTC, which it says; with the date unless that is today's."""
    at = at.astimezone(UTC)
    is_today = at.date() == now.astimezone(UTC).date()
    return f"{at:%H:%M} UTC" if is_today else f"{at:%Y-%m-%d %H:%M} UTC"
