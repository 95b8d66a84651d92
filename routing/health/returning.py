"""Providers that are back in use after an outage, where no other takes the rest.

Their messages come back at a growing rate, never all at once: the rate is that of
`routing.rules.breaker.return_rate`, and all workers together keep to it by a column of
the breaker's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from django.db.models import Q

from routing.models import ProviderHealth
from routing.rules import throttle as gcra
from routing.rules.breaker import return_throttle
from routing.strategies import Verdict
from routing.vocabulary import Channel, FallbackReason

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
