"""How the providers are doing now, for screens and explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from routing.health.overview import Overview, overviews
from routing.models import MessageDeliveryAttempt
from routing.rules.figures import percent
from routing.rules.tally import Tally, day_of
from routing.statistics.entries import read_totals
from routing.statistics.minutes import (
    MINUTE,
    Counts,
    Place,
    counts_by_minute,
    minute_of,
)
from routing.vocabulary import AttemptOutcome, ErrorClass

# The last minutes are read from at most this many attempts: the cost is the same
# however many there are, and with very many it covers less time.
LATELY = timedelta(minutes=15)
HOUR = timedelta(hours=1)
LOOKED_AT = 2000


class LatestAttempt(NamedTuple):
    """The columns of an attempt that are read here."""

    attempted_at: datetime
    provider: str
    channel: int
    outcome: int
    error_class: int | None
    error_code: str
    error_message: str

    @property
    def error(self) -> str:
        """What went wrong, in words; "" if nothing did."""
        if self.error_class is None:
            return ""
        what = f"{ErrorClass(self.error_class).label} {self.error_code}".strip()
        return ": ".join(filter(None, [what, self.error_message]))


def latest_attempts(*, now: datetime) -> list[LatestAttempt]:
    """The attempts of the last minutes, latest first, found by their ids."""
    rows = MessageDeliveryAttempt.objects.order_by("-pk").values_list(
        *LatestAttempt._fields
    )
    latest = (LatestAttempt(*row) for row in rows[:LOOKED_AT])
    return [each for each in latest if each.attempted_at > now - LATELY]


def accepted_of(latest: Sequence[LatestAttempt]) -> str:
    """How many were accepted, in words: a day's share stays high for hours after a
    provider goes down.
    """
    if not latest:
        return "no attempts"
    accepted = sum(each.outcome == AttemptOutcome.ACCEPTED for each in latest)
    return f"{accepted:,} of {len(latest):,} ({percent(accepted / len(latest))})"


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How a provider is doing on a channel."""

    overview: Overview
    today: Tally
    minutes: Mapping[datetime, Counts]  # of the last hour, by their beginning
    last_error: LatestAttempt | None  # of the last minutes

    def lately(self, minutes: int) -> Counts:
        """What happened in the last minutes: whole ones, and the one that runs."""
        since = minute_of(self.overview.now) - minutes * MINUTE
        counted = (each for at, each in self.minutes.items() if at >= since)
        return sum(counted, Counts())

    @property
    def is_last_way_out(self) -> bool:
        """Whether it fails, but gets all traffic because there is no other."""
        return self.overview.breaker.is_last_way_out


def provider_statuses(
    latest: Sequence[LatestAttempt], *, now: datetime
) -> list[ProviderStatus]:
    """The providers of MESSAGE_PROVIDERS and others used today, by channel."""
    today = _tallies_of(now)
    until = minute_of(now) + MINUTE
    minutes = counts_by_minute(since=until - HOUR, until=until)
    errors: dict[Place, LatestAttempt] = {}
    for each in latest:
        if each.error:
            errors.setdefault(Place(each.channel, each.provider), each)

    def status(overview: Overview) -> ProviderStatus:
        place = Place(overview.channel.value, overview.name)
        return ProviderStatus(
            overview,
            today=today.get(place, Tally()),
            minutes=minutes.get(place, {}),
            last_error=errors.get(place),
        )

    return [status(each) for each in overviews(now=now, also=today)]


def _tallies_of(now: datetime) -> dict[Place, Tally]:
    """Today's tallies, without messages that have no provider yet."""
    day = day_of(now)
    tallies = read_totals(first=day, last=day).tallies()
    return {Place(key.channel, key.provider): t for key, t in tallies if key.provider}
