"""A route as a plain value, without its database row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from routing.rules.retry import RetryPolicy
from routing.rules.thresholds import NO_THRESHOLDS, Thresholds
from routing.strategies import IN_ORDER
from routing.vocabulary import (
    CampaignKind,
    Channel,
    RoutingStrategy,
    UnknownOutcomePolicy,
)


class Destination(NamedTuple):
    """Where a message is going, as far as it matters to routes."""

    channel: Channel
    recipient: str  # E.164 number or e-mail address
    country: str = ""  # ISO 3166, "" if unknown
    campaign_kind: CampaignKind = CampaignKind.MARKETING


@dataclass(frozen=True, slots=True)
class Scope:
    """Which messages a route is for; a blank part matches all."""

    country: str = ""
    dial_prefix: str = ""  # the digits after the +
    campaign_kind: CampaignKind | None = None

    def __str__(self) -> str:
        kind = self.campaign_kind
        parts = [
            self.country,
            self.dial_prefix and f"+{self.dial_prefix}",
            kind.label if kind is not None else "",
        ]
        return ", ".join(filter(None, parts)) or "all"

    def covers(self, destination: Destination) -> bool:
        """Whether the route may be used for a message to this destination."""
        return (
            self.country in ("", destination.country)
            and (
                not self.dial_prefix
                or destination.recipient.startswith(f"+{self.dial_prefix}")
            )
            and self.campaign_kind in (None, destination.campaign_kind)
        )

    @property
    def is_everywhere(self) -> bool:
        """Whether it covers all destinations."""
        return not (self.country or self.dial_prefix)

    @property
    def specificity(self) -> tuple[int, bool, bool]:
        """Sorts scopes: a longer dial prefix, then a country, then a campaign kind."""
        return (
            len(self.dial_prefix),
            bool(self.country),
            self.campaign_kind is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which providers may carry a message, in which order, and how hard to try."""

    config_id: int
    channel: Channel
    strategy: RoutingStrategy
    providers: tuple[str, ...]
    is_fallback_enabled: bool
    max_retries: int  # further rounds after the first one failed
    retry_policy: RetryPolicy
    unknown_outcome_policy: UnknownOutcomePolicy
    scope: Scope = Scope()
    priority: int = 1
    weights: Mapping[str, int] = field(  # provider -> share
        default_factory=dict, hash=False
    )
    thresholds: Thresholds = NO_THRESHOLDS
    currency: str = "USD"  # prices are compared in it

    @property
    def in_use(self) -> tuple[str, ...]:
        """The providers that it may actually send by."""
        takes_only_the_first = (
            self.strategy in IN_ORDER and not self.is_fallback_enabled
        )
        return self.providers[:1] if takes_only_the_first else self.providers


def choose_route(routes: Iterable[Route], destination: Destination) -> Route | None:
    """The most specific route that covers the destination; None if none does.

    Among equally specific ones the highest priority wins. A tie would need two routes
    of the same scope and priority, which saving refuses.
    """
    covering = [
        route
        for route in routes
        if route.channel == destination.channel and route.scope.covers(destination)
    ]
    return max(
        covering,
        key=lambda route: (route.scope.specificity, route.priority),
        default=None,
    )
