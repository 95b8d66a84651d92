"""Reads the environment; each mistake is reported in one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

from marketing_platform.client_address import Network, networks_of
from messaging.rules.quiet_hours import is_time_zone

T = TypeVar("T")


class _Values(FileAwareMapping):  # type: ignore[misc]
    """The environment and its `*_FILE` variants, without a file's final line end."""

    def __getitem__(self, key: str) -> str:
        return str(super().__getitem__(key)).rstrip("\r\n")


class Environment(environ.Env):  # type: ignore[misc]
    """Errors give the name of a variable, but not its value: it may be a secret."""

    ENVIRON = _Values()
    FALSE = ("false", "off", "n", "no", "0", "")
    WANTED: ClassVar[dict[type, str]] = {
        bool: "1 or 0",
        int: "a whole number",
        float: "a number",
        dict: "a URL such as postgres://user:password@host:5432/messages",
    }

    def get_value(self, var: str, cast: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, cast, *args, **kwargs)
        except ValueError:
            wanted = self.WANTED.get(cast, "different")
            raise ImproperlyConfigured(f"{var} must be {wanted}.") from None
        except OSError as error:
            raise ImproperlyConfigured(
                f"{var}_FILE names a file that cannot be read: {error.strerror}."
            ) from None

    @classmethod
    def parse_value(cls, value: str, cast: Any) -> Any:
        known = (*cls.BOOLEAN_TRUE_STRINGS, *cls.FALSE)
        if cast is bool and value.lower().strip() not in known:
            raise ValueError  # environ would read anything else as False
        return super().parse_value(value, cast)

    def db(self, var: str, default: str) -> dict[str, Any]:
        with suppress(ValueError), warnings.catch_warnings(action="ignore"):
            found: dict[str, Any] = self.db_url_config(self.str(var, default=default))
            if found.get("ENGINE"):
                return found
        raise ImproperlyConfigured(f"{var} must be {self.WANTED[dict]}.")

    def word(self, var: str, words: Collection[str], default: str) -> str:
        """One of these words, in capitals; the environment may use any case."""
        wanted = f"one of {', '.join(words)}"
        text = self._checked(var, default, wanted, lambda text: text.upper() in words)
        return text.upper()

    def web_address(self, var: str, default: str) -> str:
        """A URL where others reach us, without a trailing slash."""
        wanted = "a URL with http:// or https://, such as https://messages.example.com"
        return self._checked(var, default, wanted, _is_web_address).rstrip("/")

    def zone(self, var: str, default: str) -> str:
        """The name of a time zone that this host knows."""
        wanted = "the name of a time zone, such as UTC or Europe/Berlin"
        return self._checked(var, default, wanted, is_time_zone)

    def at_least(self, least: int, var: str, default: int) -> int:
        """A whole number that is not below `least`."""
        number: int = self.int(var, default=default)
        if number < least:
            raise ImproperlyConfigured(
                f"{var} must be a whole number, at least {least}."
            )
        return number

    def octal(self, var: str, default: str) -> int:
        """Bits of a file's mode, such as 077."""
        wanted = "three octal digits, such as 077"
        return int(self._checked(var, default, wanted, _is_octal), 8)

    def networks(self, var: str, default: list[str]) -> list[Network]:
        """Addresses and networks such as 10.0.0.0/8."""
        try:
            return networks_of(text.strip() for text in self.list(var, default=default))
        except ValueError:
            raise ImproperlyConfigured(
                f"{var} must be addresses or networks, such as 127.0.0.1,10.0.0.0/8."
            ) from None

    def parsed(self, var: str, parse: Callable[[str], T], wanted: str) -> T | None:
        """The result of `parse`, None if the variable is not set."""
        text = self.str(var, default="").strip()
        try:
            return parse(text) if text else None
        except ValueError:
            raise ImproperlyConfigured(f"{var} must be {wanted}.") from None

    def _checked(
        self, var: str, default: str, wanted: str, is_good: Callable[[str], bool]
    ) -> str:
        text = self.str(var, default="").strip() or default
        if not is_good(text):
            raise ImproperlyConfigured(f"{var} must be {wanted}.")
        return text


def _is_octal(text: str) -> bool:
    return len(text) in (3, 4) and set(text) <= set("01234567")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_good = parts.port != 0  # raises ValueError if it is not a number
    except ValueError:
        return False
    is_bare = not (parts.query or parts.fragment or parts.username or " " in text)
    has_host = parts.scheme in {"http", "https"} and bool(parts.hostname)
    return has_host and is_bare and port_is_good
