"""MESSAGE_PROVIDERS from the environment: real accounts, or the simulators.

With PROVIDER_SIMULATOR_PORT set, every provider speaks its real protocol to the local
simulator of that port (`manage.py simulate_providers`) and needs no account.
"""

from __future__ import annotations

from typing import Any

import environ

from routing.simulators import credentials as simulated

SIMULATED_SETTLING_SECONDS = 1.0  # the simulators show at once what they took
Definitions = dict[str, dict[str, Any]]

BACKENDS = {
    "TwilioSMS": "routing.providers.twilio.TwilioSMS",
    "TwilioMMS": "routing.providers.twilio.TwilioMMS",
    "VonageSMS": "routing.providers.vonage_sms.VonageSMS",
    "VonageMMS": "routing.providers.vonage_messages.VonageMMS",
    "SendGridEmail": "routing.providers.sendgrid.SendGridEmail",
    "SMTPEmail": "routing.providers.smtp.SMTPEmail",
}

_TWILIO = {
    "ACCOUNT_SID": "TWILIO_ACCOUNT_SID",
    "AUTH_TOKEN": "TWILIO_AUTH_TOKEN",
    "FROM": "TWILIO_FROM",
}
_VONAGE = {
    "API_KEY": "VONAGE_API_KEY",
    "API_SECRET": "VONAGE_API_SECRET",
    "FROM": "VONAGE_FROM",
}
# By which environment variable an option is set that a provider cannot do without; each
# may also be read from a file, named by the same with _FILE.
VARIABLES = {
    "TwilioSMS": _TWILIO,
    "TwilioMMS": _TWILIO,
    "VonageSMS": _VONAGE,
    "VonageMMS": _VONAGE,
    "SendGridEmail": {"API_KEY": "SENDGRID_API_KEY", "FROM": "EMAIL_FROM"},
    "SMTPEmail": {"HOST": "SMTP_HOST", "FROM": "EMAIL_FROM"},
}


def message_providers(env: environ.Env, *, public_url: str) -> Definitions:
    """The registry's definitions; `public_url` is where receipts come back to."""
    timeout = env.float("PROVIDER_TIMEOUT_SECONDS", default=30.0)
    if port := env.int("PROVIDER_SIMULATOR_PORT", default=None):
        return simulated_providers(port, public_url=public_url, timeout=timeout)
    options = _real_options(env)
    max_age = env.float("RECEIPT_MAX_AGE_SECONDS", default=300.0)
    priced = {
        name: values
        | {"RECEIPT_MAX_AGE": max_age}
        | _price(env, name)
        | _settling(env, name)
        | _countries(env, name)
        for name, values in options.items()
    }
    return _definitions(priced, public_url=public_url, timeout=timeout)


def simulated_providers(
    port: int, *, public_url: str, timeout: float = 30.0
) -> Definitions:
    """Every provider, pointed at the simulators whose control port is `port`."""
    return _definitions(
        _simulated_options(port), public_url=public_url, timeout=timeout
    )


def _definitions(
    options: dict[str, dict[str, Any]], *, public_url: str, timeout: float
) -> Definitions:
    return {
        name: {
            "BACKEND": backend,
            "OPTIONS": {
                "TIMEOUT": timeout,  # seconds, for the whole call
                "RECEIPT_URL": f"{public_url}/webhooks/{name}/",
                **options[name],
            },
        }
        for name, backend in BACKENDS.items()
    }


def _price(env: environ.Env, name: str) -> dict[str, str]:
    """The contract price, if set: per segment of SMS, per message of MMS and e-mail."""
    prefix = name.upper()
    price = env.str(f"{prefix}_UNIT_PRICE", default="")
    currency = env.str(f"{prefix}_CURRENCY", default="USD")
    return {"UNIT_PRICE": price, "CURRENCY": currency} if price else {}


def _settling(env: environ.Env, name: str) -> dict[str, float]:
    """After how long it may be asked about a message; 0: never; unset: its default."""
    seconds = env.float(f"{name.upper()}_SETTLING_SECONDS", default=None)
    return {} if seconds is None else {"SETTLING_SECONDS": seconds}


def _countries(env: environ.Env, name: str) -> dict[str, str]:
    """Which countries it is used for, as ISO codes with commas; unset: all."""
    countries = env.str(f"{name.upper()}_COUNTRIES", default="")
    return {"COUNTRIES": countries} if countries else {}


def _real_options(env: environ.Env) -> dict[str, dict[str, Any]]:
    twilio = {
        "ACCOUNT_SID": env.str("TWILIO_ACCOUNT_SID", default=""),
        "AUTH_TOKEN": env.str("TWILIO_AUTH_TOKEN", default=""),
        "FROM": env.str("TWILIO_FROM", default=""),
        "BASE_URL": env.str("TWILIO_BASE_URL", default="https://api.twilio.com"),
    }
    vonage = {
        "API_KEY": env.str("VONAGE_API_KEY", default=""),
        "API_SECRET": env.str("VONAGE_API_SECRET", default=""),
        "SIGNATURE_SECRET": env.str("VONAGE_SIGNATURE_SECRET", default=""),
        "SIGNATURE_METHOD": env.str("VONAGE_SIGNATURE_METHOD", default="sha256"),
        "FROM": env.str("VONAGE_FROM", default=""),
    }
    sender = env.str("EMAIL_FROM", default="")
    is_ssl = env.bool("SMTP_USE_SSL", default=False)
    return {
        "TwilioSMS": twilio,
        "TwilioMMS": twilio,
        "VonageSMS": vonage
        | {"BASE_URL": env.str("VONAGE_SMS_BASE_URL", "https://rest.nexmo.com")},
        "VonageMMS": vonage
        | {"BASE_URL": env.str("VONAGE_MESSAGES_BASE_URL", "https://api.nexmo.com")},
        "SendGridEmail": {
            "API_KEY": env.str("SENDGRID_API_KEY", default=""),
            "WEBHOOK_VERIFICATION_KEY": env.str(
                "SENDGRID_WEBHOOK_VERIFICATION_KEY", default=""
            ),
            "BASE_URL": env.str("SENDGRID_BASE_URL", "https://api.sendgrid.com/v3/"),
            "FROM": sender,
            "MAX_BATCH": env.int("SENDGRID_MAX_BATCH", default=1000),
        },
        "SMTPEmail": {
            "HOST": env.str("SMTP_HOST", default=""),
            "PORT": env.int("SMTP_PORT", default=587),
            "USERNAME": env.str("SMTP_USERNAME", default=""),
            "PASSWORD": env.str("SMTP_PASSWORD", default=""),
            "USE_TLS": env.bool("SMTP_USE_TLS", default=not is_ssl),
            "USE_SSL": is_ssl,
            "MAX_CONNECTIONS": env.int("SMTP_MAX_CONNECTIONS", default=50),
            "FROM": sender,
        },
    }


def _simulated_options(base_port: int) -> dict[str, dict[str, Any]]:
    def url(simulator: str) -> str:
        return f"http://127.0.0.1:{base_port + simulated.PORT_OFFSETS[simulator]}"

    twilio = {
        "ACCOUNT_SID": simulated.TWILIO_ACCOUNT_SID,
        "AUTH_TOKEN": simulated.TWILIO_AUTH_TOKEN,
        "FROM": "+15005550006",
        "BASE_URL": url("twilio"),
        "SETTLING_SECONDS": SIMULATED_SETTLING_SECONDS,
    }
    vonage = {
        "API_KEY": simulated.VONAGE_API_KEY,
        "API_SECRET": simulated.VONAGE_API_SECRET,
        "SIGNATURE_SECRET": simulated.VONAGE_SIGNATURE_SECRET,
        "FROM": "15005550007",
        "BASE_URL": url("vonage"),
    }
    sender = "Campaigns <campaigns@example.com>"
    return {
        # The prices are made up; they let a simulated campaign show a cost.
        "TwilioSMS": twilio | {"UNIT_PRICE": "0.0079", "CURRENCY": "USD"},
        "TwilioMMS": twilio | {"UNIT_PRICE": "0.0200", "CURRENCY": "USD"},
        "VonageSMS": vonage
        | {
            "REPORTS_URL": url("vonage"),
            "SETTLING_SECONDS": SIMULATED_SETTLING_SECONDS,
        },
        "VonageMMS": vonage | {"UNIT_PRICE": "0.0215", "CURRENCY": "USD"},
        "SendGridEmail": {
            "API_KEY": simulated.SENDGRID_API_KEY,
            "WEBHOOK_VERIFICATION_KEY": simulated.sendgrid_public_key(),
            "BASE_URL": f"{url('sendgrid')}/v3/",
            "FROM": sender,
            "SETTLING_SECONDS": SIMULATED_SETTLING_SECONDS,
            "UNIT_PRICE": "0.0004",
            "CURRENCY": "USD",
        },
        "SMTPEmail": {
            "HOST": "127.0.0.1",
            "PORT": base_port + simulated.PORT_OFFSETS["smtp"],
            "USE_TLS": False,
            "FROM": sender,
        },
    }
