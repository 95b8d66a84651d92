"""Which providers can never carry a message: by their limits, or by their own word.

That rules out these candidates for this message only. It says nothing of their health.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from routing.providers.base import OutboundMessage
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.retry import PastAttempt
from routing.vocabulary import ErrorClass

# Provider and why, in words.
Unsuitable = Mapping[str, str]
NONE: Unsuitable = MappingProxyType({})  # as it is of nearly all messages


def unsuitable(
    providers: Iterable[str],
    message: OutboundMessage,
    *,
    country: str,
    past_attempts: Iterable[PastAttempt] = (),
) -> Unsuitable:
    """Those of the providers that cannot carry the message, and why."""
    found = {
        name: reason
        for name in providers
        if (reason := _reason(name, message, country))
    }
    for attempt in past_attempts:
        if attempt.error_class == ErrorClass.UNSUITABLE:
            found.setdefault(attempt.provider, refused_before(attempt.error_code))
    return found or NONE


def refused_before(code: str) -> str:
    """The verdict on a provider that has refused the message as unsuitable."""
    return f"it refused this message: {ErrorClass.UNSUITABLE.label} {code}".strip()


def _reason(name: str, message: OutboundMessage, country: str) -> str:
    try:
        provider = registry.get(name)
    except (UnknownProvider, ProviderNotConfigured):
        return ""  # which rules it out by itself, until somebody mends it
    if not provider.serves(country):
        return f"it is not used for {country}"
    return provider.cannot_carry(message)
