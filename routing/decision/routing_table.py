"""The active routes as workers read them, and the turns of those that take turns."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta

from django.db.models import F

from routing.models import ChannelRoutingConfig, RouteTurn
from routing.rules.route import Destination, Route, choose_route
from routing.strategies import TAKES_TURNS

logger = logging.getLogger(__name__)


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
