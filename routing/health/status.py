"""How the providers are doing now, for screens and explanations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from routing.health.breakers import describe_breaker
from routing.health.pauses import pauses_in_force
from routing.health.throttles import read_capacity
from routing.models import MessageDeliveryAttempt, ProviderHealth
from routing.providers.registry import registry
from routing.rules.breaker import Breaker, BreakerState
from routing.rules.figures import percent
from routing.rules.pause import describe as describe_pause
from routing.rules.tally import Tally, day_of
from routing.statistics.entries import read_totals
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass

# The last minutes are read from at most this many attempts: the cost is the same
# however many there are, and with very many it covers less time.
LATELY = timedelta(minutes=15)
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


MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """Attempts per minute, over the time that the latest ones cover."""

    per_minute: float
    over: timedelta
    last_minute: int  # how many of them; shows at once that they stopped


def pace_of(latest: Sequence[LatestAttempt], *, now: datetime) -> Pace:
    """The pace of the latest attempts: since the first of them, not of 15 minutes in
    most of which nothing may have been due.
    """
    if not latest:
        return Pace(0, LATELY, 0)
    # All that were looked at may be of a few seconds.
    shortest = timedelta(seconds=1) if len(latest) == LOOKED_AT else MINUTE
    over = max(now - latest[-1].attempted_at, shortest)
    last_minute = sum(each.attempted_at > now - MINUTE for each in latest)
    return Pace(len(latest) / (over / MINUTE), over, last_minute)


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How a provider is doing on a channel."""

    name: str
    channel: Channel
    problem: str  # why it cannot be used at all; "" if it can
    state: BreakerState
    is_last_way_out: bool  # it fails, but gets all traffic because there is no other
    breaker: str  # in words, like the throttle
    pause: str  # the same; "" if it is not paused
    throttle: str
    today: Tally
    lately: list[LatestAttempt]

    @property
    def accepted_lately(self) -> int:
        """How many of the latest attempts were accepted."""
        return sum(each.outcome == AttemptOutcome.ACCEPTED for each in self.lately)

    @property
    def last_error(self) -> LatestAttempt | None:
        """The latest failed attempt, if there was one lately."""
        return next((each for each in self.lately if each.error), None)


Place = tuple[int, str]  # a channel and a provider


def provider_statuses(
    latest: Sequence[LatestAttempt], *, now: datetime
) -> list[ProviderStatus]:
    """The providers of MESSAGE_PROVIDERS and others used today, by channel."""
    today = _tallies_of(now)
    health = {(row.channel, row.provider): row for row in ProviderHealth.objects.all()}
    places = sorted({*_served(), *today})
    capacity = read_capacity(name for _, name in places)
    paused = pauses_in_force(now=now)

    def status(place: Place) -> ProviderStatus:
        channel, name = place
        breaker = health[place].breaker if place in health else Breaker()
        return ProviderStatus(
            name=name,
            channel=Channel(channel),
            problem=registry.problem_with(name),
            state=breaker.state,
            is_last_way_out=breaker.is_last_way_out,
            breaker=describe_breaker(breaker, now),
            pause=describe_pause(paused[name], now) if name in paused else "",
            throttle=capacity.describe(name, now),
            today=today.get(place, Tally()),
            lately=[each for each in latest if (each.channel, each.provider) == place],
        )

    return [status(place) for place in places]


def _served() -> Iterator[Place]:
    for channel in Channel:
        yield from ((channel.value, name) for name in registry.names(channel))


def _tallies_of(now: datetime) -> dict[Place, Tally]:
    """Today's tallies, without messages that have no provider yet."""
    day = day_of(now)
    tallies = read_totals(first=day, last=day).tallies()
    return {(key.channel, key.provider): t for key, t in tallies if key.provider}
