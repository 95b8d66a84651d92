"""How fast providers may be used: their throttles, and their return after an outage.

Where no other provider takes the rest, messages come back to one at a growing rate,
never all at once: the rate is that of `routing.rules.breaker.return_rate`. All workers
together keep to both, by columns of locked rows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce

from django.db.models import Q

from routing.models import ProviderHealth, ProviderThrottle
from routing.rules import throttle as gcra
from routing.rules.breaker import return_throttle
from routing.strategies import Verdict
from routing.vocabulary import Channel, FallbackReason

# Of a throttle created by a 429: as many as a claim takes. With one message per claim,
# workers get nowhere near the rate (measured: 140/s each instead of 800).
FIRST_BURST = 50.0


@dataclass(slots=True)
class Capacity:
    """How much may be sent to throttled providers now.

    `lock_capacity` makes it within a transaction, with the rows locked; `take` draws on
    it, `save` writes what was taken.
    """

    rows: dict[str, ProviderThrottle] = field(default_factory=dict)
    in_flight: Mapping[str, int] = field(default_factory=dict)  # by all workers
    throttles: dict[str, gcra.Throttle] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)

    @property
    def limits_concurrency(self) -> bool:
        """Whether any provider limits the number of concurrent calls."""
        return any(row.max_concurrency is not None for row in self.rows.values())

    def verdict(self, provider: str, segments: int, now: datetime) -> Verdict | None:
        """Why such a message may not go to the provider now; None if it may."""
        row = self.rows.get(provider)
        if row is None:
            return None
        wait = self.wait(provider, segments, now)
        busy = self.in_flight.get(provider, 0) + self.taken.get(provider, 0)
        if row.max_concurrency is not None and busy >= row.max_concurrency:
            reason = f"its limit of {row.max_concurrency} concurrent calls is reached"
        elif wait:
            reason = f"its rate of {row.rate_per_second:g}/s is used up"
        else:
            return None
        return Verdict(reason, FallbackReason.RATE_LIMIT_EXCEEDED, until=now + wait)

    def wait(self, provider: str, segments: int, now: datetime) -> timedelta:
        """How long until the message fits into the provider's rate."""
        row = self.rows.get(provider)
        if row is None:
            return timedelta(0)
        return gcra.wait_for(self._throttle(row), _units(row, segments), now)

    def describe(self, provider: str, now: datetime) -> str:
        """The throttle's state in words."""
        row = self.rows.get(provider)
        if row is None:
            return "none"
        units = "segments" if row.counts_segments else "messages"
        rate = row.rate_per_second * gcra.factor(self._throttle(row), now)
        available = math.floor(gcra.available(self._throttle(row), now))
        return f"{rate:g} {units}/s, {available} available now"

    def take(self, provider: str, segments: int, now: datetime) -> bool:
        """Use capacity for one message; False if there is not enough."""
        row = self.rows.get(provider)
        if row is None:
            return True
        if self.verdict(provider, segments, now):
            return False
        throttle = gcra.take(self._throttle(row), _units(row, segments), now)
        if throttle is None:
            return False
        self.throttles[provider] = throttle
        self.taken[provider] = self.taken.get(provider, 0) + 1
        return True

    def save(self) -> None:
        """Write what was taken."""
        for provider, throttle in self.throttles.items():
            self.rows[provider].save_throttle(throttle)

    def slow_down(
        self, provider: str, retry_after: timedelta | None, now: datetime
    ) -> None:
        """Slow the provider down after a 429; without a throttle it gets one."""
        if provider not in self.rows:
            row, _ = ProviderThrottle.objects.get_or_create(
                provider=provider, defaults={"burst": FIRST_BURST}
            )
            self.rows[provider] = row
        slowed = gcra.slow_down(self._throttle(self.rows[provider]), retry_after, now)
        self.throttles[provider] = slowed

    def _throttle(self, row: ProviderThrottle) -> gcra.Throttle:
        return self.throttles.get(row.provider, row.throttle)


def read_capacity(providers: Iterable[str]) -> Capacity:
    """The throttles of some providers, read without locks."""
    rows = ProviderThrottle.objects.filter(provider__in=set(providers))
    return Capacity({row.provider: row for row in rows})


def lock_capacity(providers: Collection[str]) -> Capacity:
    """The throttles of some providers, locked until the transaction ends."""
    if not providers:
        return Capacity()
    rows = (
        ProviderThrottle.objects.select_for_update()
        .filter(provider__in=set(providers))
        .order_by("provider")
    )
    return Capacity({row.provider: row for row in rows})


def available_by_provider(*, now: datetime) -> dict[str, float]:
    """About how much each throttled provider may take now, read without locks."""
    return {
        row.provider: gcra.available(row.throttle, now)
        for row in ProviderThrottle.objects.all()
    }


def _units(row: ProviderThrottle, segments: int) -> float:
    return float(segments) if row.counts_segments else 1.0


Place = tuple[str, Channel]  # a provider on a channel


@dataclass(slots=True)
class Returning:
    """How many messages may go to such providers now. `lock_returning` makes it within
    a transaction; `take` draws on it, `save` writes what was taken.
    """

    rows: Mapping[Place, ProviderHealth] = field(default_factory=dict)
    taken: dict[Place, gcra.Throttle] = field(default_factory=dict)

    def verdict(self, place: Place, now: datetime) -> Verdict | None:
        """Why no message may go to the provider now; None if one may."""
        throttle = self._throttle(place, now)
        wait = gcra.wait_for(throttle, 1, now) if throttle else None
        if throttle is None or not wait:
            return None
        rate = f"{throttle.rate_per_second:g}"
        return Verdict(
            f"back in use since the outage, {rate} messages a second at first",
            FallbackReason.RATE_LIMIT_EXCEEDED,
            until=now + wait,
        )

    def take(self, place: Place, now: datetime) -> None:
        """Draw one message on the provider's rate."""
        throttle = self._throttle(place, now)
        if throttle and (after := gcra.take(throttle, 1, now)):
            self.taken[place] = after

    def save(self) -> None:
        """Write what was taken."""
        for place, throttle in self.taken.items():
            row = self.rows[place]
            row.return_tat = throttle.tat
            row.save(update_fields=["return_tat"])

    def _throttle(self, place: Place, now: datetime) -> gcra.Throttle | None:
        if place in self.taken:
            return self.taken[place]
        row = self.rows.get(place)
        if row is None:
            return None
        return return_throttle(row.breaker, row.return_tat, now)


def lock_returning(places: Iterable[Place]) -> Returning:
    """The rows of these providers, locked in the order that all workers keep."""
    wanted = sorted(places)
    if not wanted:
        return Returning()
    any_of = reduce(Q.__or__, (Q(provider=name, channel=on) for name, on in wanted))
    rows = ProviderHealth.objects.select_for_update().filter(any_of)
    return Returning(
        {
            (row.provider, Channel(row.channel)): row
            for row in rows.order_by("provider", "channel")
        }
    )
