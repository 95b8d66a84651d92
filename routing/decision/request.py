"""A message as routing sees it, and which providers can never carry it.

By their limits or by their own word: that rules them out for this message only, and
says nothing of their health.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from routing.providers.base import OutboundMessage, Provider
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.rules.retry import PastAttempt
from routing.rules.route import Destination
from routing.vocabulary import ErrorClass

# Provider and why, in words.
Unsuitable = Mapping[str, str]
NONE: Unsuitable = MappingProxyType({})  # as it is of nearly all messages


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


class Suitability:
    """What the providers of a route can carry; asked of each of its messages."""

    def __init__(self, providers: Iterable[str]) -> None:
        """One that cannot be had is ruled out by itself, until somebody mends it."""
        self._providers = [each for name in providers if (each := _built(name))]

    def unsuitable(
        self,
        message: OutboundMessage,
        *,
        country: str,
        past_attempts: Iterable[PastAttempt] = (),
    ) -> Unsuitable:
        """Those of the providers that cannot carry the message, and why."""
        found = {}
        for provider in self._providers:
            if not provider.serves(country):
                found[provider.name] = f"it is not used for {country}"
            elif reason := provider.cannot_carry(message):
                found[provider.name] = reason
        for attempt in past_attempts:
            if attempt.error_class == ErrorClass.UNSUITABLE:
                found.setdefault(attempt.provider, refused_before(attempt.error_code))
        return found or NONE


def refused_before(code: str) -> str:
    """The verdict on a provider that has refused the message as unsuitable."""
    return f"it refused this message: {ErrorClass.UNSUITABLE.label} {code}".strip()


def _built(name: str) -> Provider | None:
    try:
        return registry.get(name)
    except (UnknownProvider, ProviderNotConfigured):
        return None
