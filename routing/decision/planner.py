"""What a decision is made from: routes, retry rules, prices, how the providers are."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from django.db.models import F

from routing.decision.request import DecisionCacheKey, RoutingRequest
from routing.health.breakers import (
    Alternatives,
    CallOutcome,
    ChannelHealth,
    HealthBook,
)
from routing.health.delivery_rates import QualityBook
from routing.health.throttles import (
    Capacity,
    Place,
    Returning,
    available_by_provider,
    lock_capacity,
    lock_returning,
)
from routing.models import ChannelRoutingConfig, RetryRule, RouteTurn
from routing.money import Money
from routing.prices.rate_decks import RateBook
from routing.providers.registry import ProviderNotConfigured, UnknownProvider, registry
from routing.rules.breaker import Breaker, admission, describe, may_probe
from routing.rules.costs import PriceError, estimate
from routing.rules.decide import Choices
from routing.rules.outage import (
    Outage,
    Terms,
    every_terms,
    outages,
    providers_for,
)
from routing.rules.pause import describe as describe_pause
from routing.rules.retry_budget import STRETCH_SECONDS
from routing.rules.retry_table import NO_RULES, RetryTable
from routing.rules.route import Destination, Route, choose_route
from routing.strategies import STEADY, TAKES_TURNS, Candidate, Context, Verdict
from routing.vocabulary import CampaignKind, Channel

logger = logging.getLogger(__name__)

# A retry budget that is used up may have room again after this long.
BUDGET_PAUSE = timedelta(seconds=STRETCH_SECONDS)


def stored_table() -> RetryTable:
    """The rules in use; one that only a later version knows is passed over."""
    rules = []
    for row in RetryRule.objects.active():
        try:
            rules.append(row.as_rule())
        except ValueError:
            logger.exception("The retry rule %s cannot be used.", row.pk)
    return RetryTable(tuple(rules))


class RetryBook:
    """The retry table, read again when older than `max_age`; one per worker."""

    def __init__(self, *, max_age: timedelta = timedelta(seconds=1)) -> None:
        self._max_age = max_age
        self._table = NO_RULES
        self._read_at: datetime | None = None

    def table(self, *, now: datetime) -> RetryTable:
        """The table as it was at most `max_age` ago."""
        # Either way: the database's clock, which `now` is, may be set back.
        if self._read_at is None or abs(now - self._read_at) >= self._max_age:
            self._table, self._read_at = stored_table(), now
        return self._table


class RoutingTable:
    """The active routes, read again when older than `max_age`; one per worker."""

    def __init__(self, *, max_age: timedelta = timedelta(seconds=1)) -> None:
        self._max_age = max_age
        self._routes: list[Route] = []
        self._read_at: datetime | None = None
        self._chosen: dict[Hashable, Route | None] = {}
        self._digits = 0  # of a recipient that tell which dial prefixes cover it

    def route(self, destination: Destination, *, now: datetime) -> Route | None:
        """The route of a message, None when no active one covers it."""
        routes = self.all(now=now)
        to = destination
        alike = to.channel, to.campaign_kind, to.country, to.recipient[: self._digits]
        if alike not in self._chosen:
            self._chosen[alike] = choose_route(routes, destination)
        return self._chosen[alike]

    def all(self, *, now: datetime) -> Sequence[Route]:
        """All active routes."""
        # Either way: the database's clock, which `now` is, may be set back.
        if self._read_at is None or abs(now - self._read_at) >= self._max_age:
            self._routes, self._read_at = active_routes(), now
            self._chosen = {}
            prefixes = [each.scope.dial_prefix for each in self._routes]
            self._digits = len("+") + max(map(len, prefixes), default=0)
        return self._routes


def active_routes() -> list[Route]:
    """The routes that messages may take.

    One that cannot be used (its custom policy cannot be imported any more, or it has a
    strategy that only a later version knows) is passed over, and shown: the others, and
    the workers, go on without it.
    """
    routes = []
    for config in ChannelRoutingConfig.objects.active():
        try:
            routes.append(config.as_route())
        except (ImportError, ValueError):
            logger.exception("The route %s (%s) cannot be used.", config.pk, config)
    return routes


def take_turns(route: Route, count: int) -> int:
    """Reserve the next `count` turns of the route; returns the first one.

    Within the caller's transaction: the row lock makes the turns of all workers one
    sequence. Routes of other strategies have no turns.
    """
    if route.strategy not in TAKES_TURNS:
        return 0
    turns = RouteTurn.objects.filter(route_id=route.config_id)
    if not turns.update(count=F("count") + count):
        RouteTurn.objects.get_or_create(route_id=route.config_id)
        turns.update(count=F("count") + count)
    return turns.get().count - count


def next_turn(route: Route) -> int:
    """The turn that the next message of a route would get."""
    turn = RouteTurn.objects.filter(route_id=route.config_id).first()
    return turn.count if turn else 0


@dataclass(frozen=True, slots=True)
class ProviderSnapshot:
    """The providers' breakers, retry budgets and throttles at one moment."""

    health: Mapping[Channel, ChannelHealth]
    capacity: Capacity = field(default_factory=Capacity)
    returning: Returning = field(default_factory=Returning)

    def is_unrestricted(self, route: Route) -> bool:
        """Whether no provider of the route is watched, or has a throttle."""
        watched = self.health[route.channel].watched
        return {*watched, *self.capacity.rows}.isdisjoint(route.providers)

    def verdicts(
        self, route: Route, request: RoutingRequest, *, now: datetime, draw: float
    ) -> list[Verdict | None]:
        """What rules out each provider of the route, in its order; None: nothing does.

        A provider whose traffic comes back in steps leaves the rest to others: `draw`,
        uniform in [0, 1), says which messages. Where there is no other, it takes all,
        and its rate grows.
        """
        health = self.health[route.channel]
        found = [self._verdict(name, request, now, draw) for name in route.providers]
        if any(
            verdict is None
            and name in route.in_use
            and not health.is_returning(name, now)
            for name, verdict in zip(route.providers, found, strict=True)
        ):
            return found
        return [
            self._verdict(name, request, now, 0.0)
            or self.returning.verdict((name, route.channel), now)
            for name in route.providers
        ]

    def breaker(self, provider: str, channel: Channel) -> Breaker:
        """What its last calls say about a provider."""
        return self.health[channel].breakers.get(provider, Breaker())

    def take(self, provider: str, request: RoutingRequest, now: datetime) -> bool:
        """Draw a message from its provider's throttle and retry budget, and from its
        rate if it comes back; False if there is not enough.
        """
        if not self.capacity.take(provider, request.segments, now):
            return False
        channel = request.destination.channel
        self.returning.take((provider, channel), now)
        left = self.health[channel].retries_left
        if request.is_retry and provider in left:
            left[provider] -= 1
        return True

    def save(self) -> None:
        """Write what was drawn."""
        self.capacity.save()
        self.returning.save()

    def _verdict(
        self, provider: str, request: RoutingRequest, now: datetime, draw: float
    ) -> Verdict | None:
        if reason := request.unsuitable.get(provider):
            return Verdict(reason, is_for_good=True)
        if problem := registry.problem_with(provider):
            return Verdict(problem)
        health = self.health[request.destination.channel]
        if pause := health.pauses.get(provider):
            return Verdict(describe_pause(pause, now), until=pause.until)
        throttled = self.capacity.verdict(provider, request.segments, now)
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


@dataclass(slots=True)
class Available:
    """About how many messages may leave now; each draw leaves fewer."""

    by_channel: dict[Channel, float]  # by their providers' throttles
    probes: dict[Terms, float] = field(default_factory=dict)  # in outages
    on_return: dict[Terms, float] = field(default_factory=dict)  # after outages

    def of(self, terms: Terms) -> float:
        """How many of these terms."""
        return min(
            self.by_channel.get(terms.channel, math.inf),
            self.probes.get(terms, math.inf),
            self.on_return.get(terms, math.inf),
        )

    def is_held_back(self, terms: Terms) -> bool:
        """Whether there are none now and more in a moment. An outage may last."""
        return self.of(terms) < 1 and terms not in self.probes

    def draw(self, terms: Terms, count: int) -> None:
        """Take some of what is available."""
        if terms.channel in self.by_channel:
            self.by_channel[terms.channel] -= count
        for each in (self.probes, self.on_return):
            if terms in each:
                each[terms] -= count

    def copy(self) -> Available:
        """The same, to be drawn on by itself."""
        return Available({**self.by_channel}, {**self.probes}, {**self.on_return})


class Planner:
    """Gathers what a worker decides from; what it has read is at most a second old."""

    def __init__(self, *, rng: Random, routes: RoutingTable | None = None) -> None:
        self.rng = rng
        self._routes = routes or RoutingTable()
        self._health = HealthBook()
        self._rates = RateBook()
        self._qualities = QualityBook()
        self._retries = RetryBook()
        self._outages: Mapping[Terms, Outage] = {}
        # What they were worked out from.
        self._outages_of: tuple[int, Sequence[Route]] = (0, ())

    def route(self, destination: Destination, *, now: datetime) -> Route | None:
        """The route of a message, None when no active one covers it."""
        return self._routes.route(destination, now=now)

    def retry_table(self, *, now: datetime) -> RetryTable:
        """When failures that may pass are tried again."""
        return self._retries.table(now=now)

    def available(self, *, now: datetime) -> Available:
        """About how many messages may leave now.

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
            in_use = set(route.in_use).difference(self._health.pauses(now=now))
            names.setdefault(route.channel, set()).update(in_use)
        return Available(
            {
                channel: sum(throttled.get(name, math.inf) for name in names[channel])
                if names.get(channel)
                else math.inf
                for channel in Channel
            },
            {
                terms: float(outage.probes_due(now))
                for terms, outage in self.outages(now=now).items()
            },
            self._available_on_return(now),
        )

    def outages(self, *, now: datetime) -> Mapping[Terms, Outage]:
        """The kinds of messages that no provider may be used for."""
        health = self._health.channels(now=now)
        known = (self._health.version, self._routes.all(now=now))
        if self._outages_of != known:
            self._outages_of = known
            self._outages = outages(
                known[1],
                {
                    (name, channel): breaker
                    for channel, each in health.items()
                    for name, breaker in each.breakers.items()
                },
                problem_with=registry.problem_with,
                pauses=self._health.pauses(now=now),
            )
        return self._outages

    def _available_on_return(self, now: datetime) -> dict[Terms, float]:
        """How many messages may go to providers that have just come back, where these
        are all there is.
        """
        health = self._health.channels(now=now)
        back = {
            channel: returning
            for channel, each in health.items()
            if (returning := each.returning(now))
        }
        found: dict[Terms, float] = {}
        if not back:
            return found
        for terms in every_terms():
            returning = back.get(terms.channel, {})
            usable = {
                name
                for name in providers_for(self._routes.all(now=now), terms)
                if health[terms.channel].is_in_use(name)
                and not registry.problem_with(name)
            }
            if usable and usable <= returning.keys():
                found[terms] = sum(returning[name] for name in usable)
        return found

    def snapshot(self, *, now: datetime) -> ProviderSnapshot:
        """How the providers are, without their throttles; takes no lock."""
        return ProviderSnapshot(self._health.channels(now=now))

    def lock_returning(self, routes: Iterable[Route], *, now: datetime) -> Returning:
        """The rates of providers that have just come back, locked; takes no query while
        there are none.
        """
        health = self._health.channels(now=now)
        return lock_returning(
            {
                (name, route.channel)
                for route in routes
                for name in route.providers
                if health[route.channel].is_returning(name, now)
            }
        )

    def lock_capacity(self, providers: Collection[str], *, now: datetime) -> Capacity:
        """The providers' throttles, locked; takes no query while there are none."""
        is_throttled = self._health.has_throttles(now=now)
        return lock_capacity(providers) if is_throttled else Capacity()

    def note_changes(self) -> None:
        """Read the providers' health anew for the next claim: a call has failed, or a
        probe has begun, or a provider that comes back was drawn on.
        """
        self._health.forget()

    def foresee(self, outcomes: Sequence[CallOutcome], *, now: datetime) -> None:
        """Decide in the light of results that are about to be recorded."""
        self._health.foresee(
            outcomes, alternatives=self.alternatives(now=now), now=now, rng=self.rng
        )

    def note_successes(self, places: Collection[Place], *, now: datetime) -> None:
        """Remember that calls succeeded, in case the provider fails soon."""
        self._health.note_successes(places, now=now)

    def succeeded_lately(self, *, now: datetime) -> set[Place]:
        """The providers that this worker called with success in the last minute."""
        return self._health.succeeded_lately(now=now)

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
        paused = self._health.pauses(now=now).keys()
        for route in self._routes.all(now=now):
            usable = {name for name in route.in_use if not registry.problem_with(name)}
            usable -= paused
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
                self._candidate(name, verdict, route, request, snapshot, now)
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
        snapshot: ProviderSnapshot,
        now: datetime,
    ) -> Candidate:
        to = request.destination
        score = self._qualities.score(name, to.channel, to.country, now=now)
        estimate = self._estimate(name, request, now)
        breaker = snapshot.breaker(name, to.channel)
        is_returning = snapshot.health[to.channel].is_returning(name, now)
        return Candidate(
            name,
            verdict,
            weight=route.weights.get(name, 1),
            price=_in_currency(estimate, route.currency),
            quality=score.mean if score else None,
            evidence=score.evidence if score else 0.0,
            estimate=estimate,
            is_failing=breaker.is_failing or is_returning,
            has_only_failed=breaker.has_only_failed,
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
