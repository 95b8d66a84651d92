"""How the providers are at the moment, and what that means for one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from routing.decision.request import RoutingRequest
from routing.health.breakers import ChannelHealth
from routing.health.throttles import Capacity
from routing.providers.registry import registry
from routing.rules.breaker import admission, describe, may_probe
from routing.rules.retry_budget import STRETCH_SECONDS
from routing.rules.route import Route
from routing.strategies import Verdict
from routing.vocabulary import Channel

# A retry budget that is used up may have room again after this long.
BUDGET_PAUSE = timedelta(seconds=STRETCH_SECONDS)


@dataclass(frozen=True, slots=True)
class ProviderSnapshot:
    """The providers' breakers, retry budgets and throttles at one moment."""

    health: Mapping[Channel, ChannelHealth]
    capacity: Capacity = field(default_factory=Capacity)

    def is_unrestricted(self, route: Route) -> bool:
        """Whether no provider of the route is watched, or has a throttle."""
        watched = self.health[route.channel].watched
        return {*watched, *self.capacity.rows}.isdisjoint(route.providers)

    def verdicts(
        self, route: Route, request: RoutingRequest, *, now: datetime, draw: float
    ) -> list[Verdict | None]:
        """What rules out each provider of the route, in its order; None: nothing does.

        A provider whose traffic comes back in steps leaves the rest to others: `draw`,
        uniform in [0, 1), says which messages. Where there is no other, it takes all.
        """
        found = [self._verdict(name, request, now, draw) for name in route.providers]
        if all(found):
            found = [self._verdict(name, request, now, 0.0) for name in route.providers]
        return found

    def _verdict(
        self, provider: str, request: RoutingRequest, now: datetime, draw: float
    ) -> Verdict | None:
        if reason := request.unsuitable.get(provider):
            return Verdict(reason, is_for_good=True)
        if problem := registry.problem_with(provider):
            return Verdict(problem)
        throttled = self.capacity.verdict(provider, request.segments, now)
        health = self.health[request.destination.channel]
        breaker = health.breakers.get(provider)
        if breaker and draw >= admission(breaker, now):
            return Verdict(
                describe(breaker, now),
                until=breaker.open_until,
                may_be_probed=may_probe(breaker, now) and not throttled,
            )
        if request.is_retry and health.retries_left.get(provider, 1) <= 0:
            return Verdict("its retry budget is used up", until=now + BUDGET_PAUSE)
        return throttled
