"""The providers of MESSAGE_PROVIDERS, each built once per process.

MESSAGE_PROVIDERS has the shape of CACHES: name, dotted path of the class, options.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from routing.providers.base import Provider
from routing.providers.options import Option
from routing.vocabulary import Channel


class UnknownProvider(LookupError):
    """There is no provider of this name in MESSAGE_PROVIDERS."""


class ProviderNotConfigured(Exception):
    """The provider lacks an option that it cannot work without."""


class ProviderRegistry:
    """Looks providers up by name. Safe to use from many threads."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self._built: dict[str, Provider] = {}
        self._lock = threading.Lock()
        self.configure(definitions)

    def configure(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        """Forget all providers, and use these definitions."""
        self.close()
        self.definitions = definitions
        self.__dict__.pop("_classes", None)

    def names(self, channel: Channel | None = None) -> list[str]:
        """The names of all providers, or of one channel's, in the settings' order."""
        if channel is None:
            return list(self.definitions)
        return [name for name, cls in self._classes.items() if cls.channel == channel]

    def provider_class(self, name: str) -> type[Provider]:
        """The class of this name; UnknownProvider lists the names that exist."""
        if name not in self.definitions:
            raise UnknownProvider(
                f"Unknown provider {name!r}. MESSAGE_PROVIDERS has: "
                f"{', '.join(self.definitions)}."
            )
        return self._classes[name]

    def get(self, name: str) -> Provider:
        """The provider of this name, ready to send.

        Raises UnknownProvider, or ProviderNotConfigured when it lacks credentials.
        """
        with self._lock:
            if name not in self._built:
                self._built[name] = self._build(name)
            return self._built[name]

    def problem_on_channel(self, name: str, channel: Channel) -> str:
        """Why this provider cannot serve the channel; "" if it can."""
        try:
            carries = self.provider_class(name).channel
        except UnknownProvider as error:
            return str(error)
        if carries == channel:
            return ""
        names = ", ".join(self.names(channel)) or "none"
        return f"{name} does not carry {channel.label}. Those that do: {names}."

    def problem_with(self, name: str) -> str:
        """Why `get(name)` would fail, in one line; "" if it would not."""
        try:
            self.get(name)
        except (UnknownProvider, ProviderNotConfigured) as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Close every provider that was built, and forget them."""
        with self._lock:
            for provider in self._built.values():
                provider.close()
            self._built.clear()

    @cached_property
    def _classes(self) -> dict[str, type[Provider]]:
        return {
            name: import_string(definition["BACKEND"])
            for name, definition in self.definitions.items()
        }

    def _build(self, name: str) -> Provider:
        provider = self.provider_class(name)(
            name, self.definitions[name].get("OPTIONS", {})
        )
        if missing := provider.missing_options():
            names = ", ".join(option.name for option in missing)
            raise ProviderNotConfigured(
                f"{name} is not configured: it lacks {names} "
                f"({_where_to_set(missing)}see docs/providers.md)."
            )
        return provider


def _where_to_set(options: Sequence[Option]) -> str:
    """The environment variables of these options, if they have any."""
    variables = [option.variable for option in options if option.variable]
    return f"set {', '.join(variables)}; " if variables else ""


registry = ProviderRegistry(settings.MESSAGE_PROVIDERS)


def _reload(*, setting: str, **_: object) -> None:
    """Follow changes of the settings in tests."""
    if setting == "MESSAGE_PROVIDERS":
        registry.configure(settings.MESSAGE_PROVIDERS)


setting_changed.connect(_reload)
