"""What a decision is made from: routes, prices, and how the providers are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from random import Random

from routing.decision.request import DecisionCacheKey, RoutingRequest
from routing.decision.routing_table import RoutingTable
from routing.decision.snapshot import ProviderSnapshot
from routing.health.breakers import (
    Alternatives,
    HealthBook,
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
from routing.rules.costs import PriceError
from routing.rules.decide import Choices
from routing.rules.rates import estimate
from routing.rules.route import Destination, Route
from routing.strategies import STEADY, Candidate, Context, Verdict
from routing.vocabulary import (
    CampaignKind,
    Channel,
)


class Planner:
    """Gathers what a worker decides from; what it has read is at most a second old."""

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

        A channel without a route has no limit: its messages are looked at all the same,
        so that they say why they wait.
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
        """How the providers are, without their throttles; takes no lock."""
        return ProviderSnapshot(self._health.channels(now=now))

    def lock_capacity(self, providers: Collection[str], *, now: datetime) -> Capacity:
        """The providers' throttles, locked; takes no query while there are none."""
        is_throttled = self._health.has_throttles(now=now)
        return lock_capacity(providers) if is_throttled else Capacity()

    def note_failures(self) -> None:
        """Read the providers' health anew for the next claim: a call has failed."""
        self._health.forget()

    def watched(self, *, now: datetime) -> set[tuple[str, Channel]]:
        """The providers that failed lately, by channel: their calls are counted."""
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
        """How to tell which requests of the route get the same decision now.

        None where each gets a decision of its own, by turns, chance or limits.
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
        """The route's providers as they stand now, for one message.

        `turn` is the message's place in a RoundRobin route.
        """
        draw = self.rng.random()
        verdicts = snapshot.verdicts(route, request, now=now, draw=draw)
        return Choices(
            tuple(
                self._candidate(name, verdict, route, request, now)
                for name, verdict in zip(route.providers, verdicts, strict=True)
            ),
            Context(
                turn=turn,
                draw=draw,
                may_explore=request.destination.campaign_kind == CampaignKind.MARKETING,
            ),
        )

    def _candidate(
        self,
        name: str,
        verdict: Verdict | None,
        route: Route,
        request: RoutingRequest,
        now: datetime,
    ) -> Candidate:
        to = request.destination
        score = self._qualities.score(name, to.channel, to.country, now=now)
        estimate = self._estimate(name, request, now)
        return Candidate(
            name,
            verdict,
            weight=route.weights.get(name, 1),
            price=_in_currency(estimate, route.currency),
            quality=score.mean if score else None,
            evidence=score.evidence if score else 0.0,
            estimate=estimate,
        )

    def _estimate(
        self, name: str, request: RoutingRequest, now: datetime
    ) -> Money | None:
        """What the whole message would cost there; None when nobody knows."""
        destination = request.destination
        channel = destination.channel
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


def _options(provider_name: str) -> Mapping[str, object]:
    try:
        return registry.get(provider_name).options
    except (UnknownProvider, ProviderNotConfigured):
        return {}
