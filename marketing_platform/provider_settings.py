"""MESSAGE_PROVIDERS from the environment: real accounts, or the simulators.

With PROVIDER_SIMULATOR_PORT set, providers that have a simulator talk to it in their
real protocol (`manage.py simulate_providers`) and need no account. Providers without
one are left out, so that they send nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import environ
from django.utils.module_loading import import_string

from routing.providers.base import Provider
from routing.providers.options import Option
from routing.simulators.credentials import PORT_OFFSETS

Definitions = dict[str, dict[str, Any]]

# A new provider needs one line here. Its name in MESSAGE_PROVIDERS is its class's name;
# the class also declares its options and their environment variables.
PROVIDERS = (
    "routing.providers.twilio.TwilioSMS",
    "routing.providers.twilio.TwilioMMS",
    "routing.providers.vonage_sms.VonageSMS",
    "routing.providers.vonage_messages.VonageMMS",
    "routing.providers.sendgrid.SendGridEmail",
    "routing.providers.smtp.SMTPEmail",
)


def provider_classes(paths: Sequence[str] = PROVIDERS) -> list[type[Provider]]:
    """The classes at these dotted paths."""
    return [import_string(path) for path in paths]


def message_providers(
    env: environ.Env, *, public_url: str, paths: Sequence[str] = PROVIDERS
) -> Definitions:
    """The registry's definitions; receipts are sent to `public_url`."""
    timeout = env.float("PROVIDER_TIMEOUT_SECONDS", default=30.0)
    if port := env.int("PROVIDER_SIMULATOR_PORT", default=None):
        return simulated_providers(
            port, public_url=public_url, timeout=timeout, paths=paths
        )
    return {
        cls.__name__: _definition(
            cls, _real_options(env, cls), public_url=public_url, timeout=timeout
        )
        for cls in provider_classes(paths)
    }


def simulated_providers(
    port: int,
    *,
    public_url: str,
    timeout: float = 30.0,
    paths: Sequence[str] = PROVIDERS,
) -> Definitions:
    """The providers with a simulator; `port` is the simulators' control port."""
    return {
        cls.__name__: _definition(
            cls,
            cls.simulated_options(port + PORT_OFFSETS[cls.simulator]),
            public_url=public_url,
            timeout=timeout,
        )
        for cls in provider_classes(paths)
        if cls.simulator in PORT_OFFSETS
    }


def _definition(
    cls: type[Provider], options: Mapping[str, Any], *, public_url: str, timeout: float
) -> dict[str, Any]:
    name = cls.__name__
    return {
        "BACKEND": f"{cls.__module__}.{name}",
        "OPTIONS": {
            "TIMEOUT": timeout,  # seconds, for the whole call
            "RECEIPT_URL": f"{public_url}/webhooks/{name}/",
            **options,
        },
    }


def _real_options(env: environ.Env, cls: type[Provider]) -> dict[str, Any]:
    name = cls.__name__
    return {
        **{option.name: _value(env, option) for option in cls.declared_options},
        "RECEIPT_MAX_AGE": env.float("RECEIPT_MAX_AGE_SECONDS", default=300.0),
        **_price(env, name),
        **_settling(env, name),
        **_countries(env, name),
    }


def _value(env: environ.Env, option: Option) -> Any:
    """The value in the environment; the default if the variable is empty or unset."""
    if not option.variable or not env.str(option.variable, default=""):
        return option.default
    return env.get_value(option.variable, cast=type(option.default))


def _price(env: environ.Env, name: str) -> dict[str, str]:
    """The contract price, if set: per segment of SMS, per message of MMS and e-mail."""
    prefix = name.upper()
    price = env.str(f"{prefix}_UNIT_PRICE", default="")
    currency = env.str(f"{prefix}_CURRENCY", default="USD")
    return {"UNIT_PRICE": price, "CURRENCY": currency} if price else {}


def _settling(env: environ.Env, name: str) -> dict[str, float]:
    """How long after a call it may be asked; 0: never; unset: its default."""
    seconds = env.float(f"{name.upper()}_SETTLING_SECONDS", default=None)
    return {} if seconds is None else {"SETTLING_SECONDS": seconds}


def _countries(env: environ.Env, name: str) -> dict[str, str]:
    """The countries it is used for, as comma-separated ISO codes; unset: all."""
    countries = env.str(f"{name.upper()}_COUNTRIES", default="")
    return {"COUNTRIES": countries} if countries else {}
