"""System checks of MESSAGE_PROVIDERS and RETRY_POLICIES."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from routing.custom_policies import PolicyNotUsable, load_policy
from routing.providers.registry import registry
from routing.rules.costs import PriceError, contract_price


@register()
def check_providers(**_: Any) -> list[CheckMessage]:
    """E001: no such class. E002: an invalid price."""
    try:
        for name in registry.names():
            registry.problem_with(name)
    except (ImportError, KeyError) as error:
        return [
            Error(
                f"MESSAGE_PROVIDERS names a class that cannot be loaded: {error}.",
                hint="BACKEND is the dotted path of a routing.providers class.",
                id="routing.E001",
            )
        ]
    return list(_unusable_prices())


@register()
def check_retry_policies(**_: Any) -> list[CheckMessage]:
    """E003: RETRY_POLICIES lists something that is not a policy."""
    return list(_unusable_policies())


@register(deploy=True)
def check_credentials(**_: Any) -> list[CheckMessage]:
    """W001: a provider has no credentials. Commands that need it report it too."""
    try:
        idle = [name for name in registry.names() if registry.problem_with(name)]
    except (ImportError, KeyError):
        return []  # reported by E001
    return list(_idle_providers(idle))


def _unusable_policies() -> Iterator[CheckMessage]:
    for path in settings.RETRY_POLICIES:
        try:
            load_policy(path)
        except PolicyNotUsable as error:
            yield Error(
                f"RETRY_POLICIES: {error}",
                hint="List dotted paths of functions; see docs/routing.md.",
                id="routing.E003",
            )


def _unusable_prices() -> Iterator[CheckMessage]:
    for name, definition in registry.definitions.items():
        try:
            contract_price(definition.get("OPTIONS", {}))
        except PriceError as error:
            yield Error(
                f"{name} has an invalid contract price: {error}",
                hint="UNIT_PRICE is a number such as 0.0079, CURRENCY a code such as "
                "EUR.",
                id="routing.E002",
            )


def _idle_providers(idle: list[str]) -> Iterator[CheckMessage]:
    if idle:
        yield Warning(
            f"These providers cannot send without credentials: {', '.join(idle)}.",
            hint=f"{' '.join(map(registry.problem_with, idle))} Without accounts, set "
            "PROVIDER_SIMULATOR_PORT and run `manage.py simulate_providers`.",
            id="routing.W001",
        )
