"""Which routes can send, and which messages wait because no provider may be used.

One answer for the doctor, for campaigns, for workers and for screens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from routing.decision.planner import active_routes
from routing.health.pauses import pauses_in_force
from routing.models import ProviderHealth
from routing.providers.registry import registry
from routing.rules.breaker import BreakerState
from routing.rules.outage import Outage, Terms, alike, describe, outages
from routing.rules.route import Route, Scope
from routing.vocabulary import CampaignKind, Channel


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a route's messages can leave, as far as its setting up goes."""

    route: Route
    # Why providers that it sends by cannot be used; those that can are absent.
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def can_send(self) -> bool:
        """Whether at least one provider can be used."""
        return len(self.problems) < len(self.route.in_use)

    def __str__(self) -> str:
        scope = "" if str(self.route.scope) == "all" else f" for {self.route.scope}"
        return f"{self.route.channel.label} by {self.route.providers[0]}{scope}"


def readiness(
    channel: Channel | None = None, kind: CampaignKind | None = None
) -> list[Readiness]:
    """The routes that serve, of all channels and kinds or of one.

    One that stands behind another of the same scope, with a higher priority, does not.
    """
    served = [
        route
        for route in active_routes()
        if channel in (None, route.channel)
        and (kind is None or route.scope.campaign_kind in (None, kind))
    ]
    return [Readiness(route, _problems(route)) for route in _in_front(served)]


def problems_of(routes: Sequence[Readiness]) -> list[str]:
    """What is wrong with the providers of some routes, each once."""
    found = [text for each in routes for text in each.problems.values()]
    return list(dict.fromkeys(found))


def _in_front(routes: Sequence[Route]) -> list[Route]:
    """They come with the highest priority first."""
    first: dict[tuple[Channel, Scope], Route] = {}
    for route in routes:
        first.setdefault((route.channel, route.scope), route)
    return list(first.values())


def _problems(route: Route) -> dict[str, str]:
    problems = {name: registry.problem_with(name) for name in route.in_use}
    return {name: problem for name, problem in problems.items() if problem}


def current_outages(*, now: datetime) -> dict[Terms, Outage]:
    """The outages now, by what their messages have in common."""
    breakers = {
        (row.provider, Channel(row.channel)): row.breaker
        for row in ProviderHealth.objects.all()
    }
    return outages(
        active_routes(),
        breakers,
        problem_with=registry.problem_with,
        pauses=pauses_in_force(now=now),
    )


@dataclass(frozen=True, slots=True)
class Detour:
    """Where the messages of a provider go while it is out of use or paused."""

    to: tuple[str, ...]  # providers that are in use
    is_blocked: bool = False  # whether a route has no other, so that its messages wait

    def __str__(self) -> str:
        if not self.to:
            return "no other provider may be used" if self.is_blocked else ""
        others = "; some routes have no other" if self.is_blocked else ""
        return f"traffic goes to {', '.join(self.to)}{others}"


def current_detours(*, now: datetime) -> dict[tuple[str, Channel], Detour]:
    """For each provider out of use or paused, by its channel."""
    rows = ProviderHealth.objects.exclude(state=BreakerState.CLOSED)
    out = {(row.provider, Channel(row.channel)) for row in rows}
    paused = pauses_in_force(now=now)
    out |= {(n, c) for c in Channel for n in registry.names(c) if n in paused}
    served = _in_front(active_routes()) if out else []
    return {each: _detour(*each, served, out) for each in out}


def _detour(
    name: str, channel: Channel, served: Sequence[Route], out: set[tuple[str, Channel]]
) -> Detour:
    ways = [
        [each for each in route.in_use if _may_carry(each, channel, out)]
        for route in served
        if route.channel == channel and name in route.in_use
    ]
    to = dict.fromkeys(each for way in ways for each in way)
    return Detour(tuple(to), is_blocked=not all(ways))


def _may_carry(name: str, channel: Channel, out: set[tuple[str, Channel]]) -> bool:
    return (name, channel) not in out and not registry.problem_with(name)


def outage_sentences(
    found: Mapping[Terms, Outage], *, now: datetime
) -> dict[Terms, str]:
    """What people read of each outage; terms with the same outage share a sentence."""
    return {
        each.terms: describe(group, now)
        for group in alike(found.values())
        for each in group
    }
