"""Which routes can send: one answer for the doctor, for campaigns and for screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from routing.decision.planner import active_routes
from routing.providers.registry import registry
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
