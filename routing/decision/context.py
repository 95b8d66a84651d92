"""What a decision is made from, gathered: routes, prices, and who can send now."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple

from routing.decision.routing_table import RoutingTable
from routing.decision.suitability import NONE, Unsuitable, refused_before
from routing.health.breakers import (
    Alternatives,
    ChannelHealth,
    HealthBook,
    verdict_of,
)
from routing.health.delivery_rates import QualityBook
from routing.health.throttles import (
    Capacity,
    available_by_provider,
    lock_capacity,
)
from routing.money import Money
from routing.prices.rate_decks import RateBook
from routing.providers.registry import ProviderNotConfigured, UnknownProvider, registry
from routing.rules.breaker import BreakerState
from routing.rules.costs import PriceError
from routing.rules.decide import Choices
from routing.rules.rates import estimate
from routing.rules.retry_budget import STRETCH_SECONDS
from routing.rules.route import Destination, Route
from routing.strategies import Candidate, Context
from routing.vocabulary import (
    CampaignKind,
    Channel,
    FallbackReason,
    RoutingStrategy,
)

logger = logging.getLogger(__name__)


class RoutingRequest(NamedTuple):
    """A message as routing sees it: where it goes, and in how many segments."""

    destination: Destination
    segments: int
    is_retry: bool = False  # after a round that failed
    unsuitable: Unsuitable = NONE  # providers that cannot carry it, and why

    def refused_by(self, provider: str, code: str) -> RoutingRequest:
        """The same, after a provider has said that it cannot carry it."""
        verdict = {provider: refused_before(code)}
        return self._replace(unsuitable={**verdict, **self.unsuitable})


class DecisionCacheKey(NamedTuple):
    """Tells which requests are alike to a route that takes no turns and no chances."""

    priced_digits: int  # of a number, that prices depend on

    def of(self, request: RoutingRequest) -> Hashable:
        """Equal for those that are."""
        to = request.destination
        number = to.recipient.removeprefix("+")[: self.priced_digits]
        unsuitable = frozenset(request.unsuitable)
        return number, to.country, request.segments, request.is_retry, unsuitable


def provider_verdicts(route: Route) -> Mapping[str, str]:
    """Why each provider of the route may not be used now; those that may are absent."""
    problems = {name: registry.problem_with(name) for name in route.providers}
    return {name: problem for name, problem in problems.items() if problem}


# Strategies that neither take turns nor leave anything to chance.
STEADY = {RoutingStrategy.PRIMARY, RoutingStrategy.FALLBACK, RoutingStrategy.LEAST_COST}


@dataclass(frozen=True, slots=True)
class ProviderSnapshot:
    """How the providers are at the moment: breakers, retry budgets, throttles."""

    health: Mapping[Channel, ChannelHealth] = field(default_factory=dict)
    capacity: Capacity = field(default_factory=Capacity)

    def is_unrestricted(self, route: Route) -> bool:
        """Whether no provider of the route is watched, or has a throttle."""
        health = self.health.get(route.channel, ChannelHealth())
        return {*health.watched, *self.capacity.rows}.isdisjoint(route.providers)


class Planner:
    """Gathers choices for one worker; what it read is at most a second old."""

    def __init__(self, *, rng: Random, routes: RoutingTable | None = None) -> None:
        self.rng = rng
        self._routes = routes or RoutingTable()
        self._health = HealthBook()
        self._rates = RateBook()
        self._qualities = QualityBook()

    def route(self, destination: Destination, *, now: datetime) -> Route | None:
        """The route of a message, None when no active one covers it."""
        return self._routes.route(destination, now=now)

    def available(self, *, now: datetime) -> dict[Channel, float]:
        """About how many messages of each channel its providers may take now.

        A channel without a route has all the room there is: its messages are looked at
        all the same, and say why they wait.
        """
        throttled = (
            available_by_provider(now=now)
            if self._health.has_throttles(now=now)
            else {}
        )
        names: dict[Channel, set[str]] = {}
        for route in self._routes.all(now=now):
            names.setdefault(route.channel, set()).update(route.in_use)
        return {
            channel: sum(throttled.get(name, math.inf) for name in names[channel])
            if channel in names
            else math.inf
            for channel in Channel
        }

    def snapshot(self, *, now: datetime) -> ProviderSnapshot:
        """How the providers are, without a lock and without throttles."""
        return ProviderSnapshot(self._health.channels(now=now))

    def lock_capacity(self, providers: Collection[str], *, now: datetime) -> Capacity:
        """The providers' throttles, locked; without a query while there are none."""
        is_throttled = self._health.has_throttles(now=now)
        return lock_capacity(providers) if is_throttled else Capacity()

    def note_failures(self) -> None:
        """Something went wrong: heed what came of it from the next claim on."""
        self._health.forget()

    def watched(self, *, now: datetime) -> set[tuple[str, Channel]]:
        """The providers that failed of late, and where: their calls are counted."""
        return {
            (provider, channel)
            for channel, health in self._health.channels(now=now).items()
            for provider in health.watched
        }

    def alternatives(self, *, now: datetime) -> Alternatives:
        """Where the messages of each provider could go instead, route by route."""
        found: dict[tuple[str, Channel], list[set[str]]] = {}
        for route in self._routes.all(now=now):
            usable = {name for name in route.in_use if not registry.problem_with(name)}
            for name in route.in_use:
                others = found.setdefault((name, route.channel), [])
                others.append(usable - {name})
        return found

    def cache_key(
        self, route: Route, *, now: datetime, snapshot: ProviderSnapshot
    ) -> DecisionCacheKey | None:
        """Which requests of the route the same decision holds for at the moment.

        None where each needs its own: where there are turns, chance, or limits.
        """
        if route.strategy not in STEADY or not snapshot.is_unrestricted(route):
            return None
        return DecisionCacheKey(
            max(
                self._rates.table(
                    provider=name, channel=route.channel, now=now
                ).longest_prefix
                for name in route.providers
            )
        )

    def choices(
        self,
        route: Route,
        request: RoutingRequest,
        *,
        now: datetime,
        turn: int = 0,
        snapshot: ProviderSnapshot,
    ) -> Choices:
        """The route's providers as they stand, for one message."""
        draw = self.rng.random()
        verdicts, reasons = _verdicts(route, request, snapshot, now, draw)
        estimates = self._estimates(route, request, now)
        return Choices(
            candidates=tuple(
                Candidate(
                    name,
                    verdicts.get(name, ""),
                    route.weights.get(name, 1),
                    _in_currency(estimates.get(name), route.currency),
                    *self._quality(name, request.destination, now),
                )
                for name in route.providers
            ),
            reasons=reasons,
            estimates=estimates,
            unsuitable=request.unsuitable,
            context=Context(
                turn=turn,
                draw=draw,
                may_explore=request.destination.campaign_kind == CampaignKind.MARKETING,
            ),
        )

    def _quality(
        self, name: str, destination: Destination, now: datetime
    ) -> tuple[float | None, float]:
        """The provider's delivery rate there, and the messages that it rests on."""
        score = self._qualities.score(
            name, destination.channel, destination.country, now=now
        )
        return (score.mean, score.evidence) if score else (None, 0.0)

    def _estimates(
        self, route: Route, request: RoutingRequest, now: datetime
    ) -> dict[str, Money]:
        """What the whole message would cost, by provider; without a price, none."""
        prices = {
            name: self._price(name, route.channel, request, now)
            for name in route.providers
        }
        return {name: price for name, price in prices.items() if price}

    def _price(
        self, name: str, channel: Channel, request: RoutingRequest, now: datetime
    ) -> Money | None:
        destination = request.destination
        table = self._rates.table(provider=name, channel=channel, now=now)
        try:
            return estimate(
                table.price(
                    recipient=destination.recipient,
                    country=destination.country,
                    on=now.date(),
                ),
                channel=channel,
                segments=request.segments,
                options=_options(name),
            )
        except PriceError:
            return None  # a check says so; it costs the price, not the message


def _in_currency(price: Money | None, currency: str) -> Decimal | None:
    """The amount, if it can be compared on a route of this currency."""
    return price.amount if price and price.currency == currency else None


def _verdicts(
    route: Route,
    request: RoutingRequest,
    snapshot: ProviderSnapshot,
    now: datetime,
    draw: float,
) -> tuple[dict[str, str], dict[str, FallbackReason]]:
    """What rules providers out, and which reason that is for a fallback.

    A provider that ramps back turns messages away in favour of others; where there is
    no other, it takes them.
    """
    verdicts = {**provider_verdicts(route), **request.unsuitable}
    reasons = dict.fromkeys(verdicts, FallbackReason.PROVIDER_UNAVAILABLE)
    health = snapshot.health.get(route.channel, ChannelHealth())
    ramping = set()
    for name in route.providers:
        if name in verdicts:
            continue
        breaker = health.breakers.get(name)
        if verdict := verdict_of(breaker, now=now, draw=draw):
            verdicts[name] = verdict
            reasons[name] = FallbackReason.PROVIDER_UNAVAILABLE
            if breaker and breaker.state == BreakerState.CLOSED:
                ramping.add(name)
        elif request.is_retry and health.retries_left.get(name, 1) <= 0:
            verdicts[name] = "its retry budget is used up"
            reasons[name] = FallbackReason.PROVIDER_UNAVAILABLE
        elif verdict := snapshot.capacity.verdict(name, request.segments, now):
            verdicts[name] = verdict
            reasons[name] = FallbackReason.RATE_LIMIT_EXCEEDED
    if len(verdicts) == len(route.providers):
        verdicts = {name: why for name, why in verdicts.items() if name not in ramping}
    return verdicts, reasons


# A message that no provider can take is looked at again after this long.
NO_PROVIDER_PAUSE = timedelta(seconds=10)
# A provider's retry budget is another one after this long.
BUDGET_PAUSE = timedelta(seconds=STRETCH_SECONDS)
SHORTEST_PAUSE = timedelta(milliseconds=50)


def pause_before_next_try(
    route: Route,
    choices: Choices,
    request: RoutingRequest,
    *,
    snapshot: ProviderSnapshot,
    now: datetime,
) -> timedelta:
    """How long until a throttle or budget may have room, or a breaker be probed."""
    health = snapshot.health.get(route.channel, ChannelHealth())
    waits = [NO_PROVIDER_PAUSE]
    for name in route.in_use:
        breaker = health.breakers.get(name)
        if choices.reasons.get(name) == FallbackReason.RATE_LIMIT_EXCEEDED:
            waits.append(snapshot.capacity.wait(name, request.segments, now))
        elif breaker and breaker.open_until:
            waits.append(breaker.open_until - now)
        elif request.is_retry and health.retries_left.get(name, 1) <= 0:
            waits.append(BUDGET_PAUSE)
    return max(min(waits), SHORTEST_PAUSE)


def _options(provider_name: str) -> Mapping[str, object]:
    try:
        return registry.get(provider_name).options
    except (UnknownProvider, ProviderNotConfigured):
        return {}
