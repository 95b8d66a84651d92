"""A message as routing sees it, and which messages are alike to a route."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from routing.decision.suitability import NONE, Unsuitable, refused_before
from routing.rules.route import Destination


class RoutingRequest(NamedTuple):
    """A message as routing sees it: where it goes, and in how many segments."""

    destination: Destination
    segments: int
    is_retry: bool = False  # after a round that failed
    unsuitable: Unsuitable = NONE  # providers that cannot carry it, and why

    def refused_by(self, provider: str, code: str) -> RoutingRequest:
        """The same request, after a provider has said that it cannot carry it."""
        refusal = {provider: refused_before(code)}
        return self._replace(unsuitable={**refusal, **self.unsuitable})


class DecisionCacheKey(NamedTuple):
    """Makes the keys under which a route's decisions are kept for like requests."""

    priced_digits: int  # how many digits of a number its price depends on

    def of(self, request: RoutingRequest) -> Hashable:
        """The key of a request; requests with equal keys get the same decision."""
        to = request.destination
        number = to.recipient.removeprefix("+")[: self.priced_digits]
        unsuitable = frozenset(request.unsuitable)
        return number, to.country, request.segments, request.is_retry, unsuitable
