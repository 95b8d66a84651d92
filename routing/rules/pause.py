"""Pauses: times in which a person keeps all messages away from a provider.

Pure: values in, values and words out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from routing.text.moments import utc_moment


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
    until = f"; until {utc_moment(pause.until, now=now)}" if pause.until else ""
    by = f" by {pause.by}" if pause.by else ""
    since = utc_moment(pause.since, now=now)
    return f"{verb} {since}{by}: {pause.reason.rstrip('.')}{until}"
