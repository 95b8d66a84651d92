"""The options of a Vonage account, which its APIs share."""

from __future__ import annotations

from typing import Any

from routing.providers.options import Option

ACCOUNT_OPTIONS = (
    Option("API_KEY", "VONAGE_API_KEY", is_required=True),
    Option("API_SECRET", "VONAGE_API_SECRET", is_required=True),
    Option("FROM", "VONAGE_FROM", is_required=True),
    Option(
        "SIGNATURE_SECRET",
        "VONAGE_SIGNATURE_SECRET",
        help="without it every receipt is refused",
    ),
)

SIMULATED_ACCOUNT: dict[str, Any] = {
    "API_KEY": "simulated",
    "API_SECRET": "simulated-vonage-secret",
    "FROM": "15005550007",
    "SIGNATURE_SECRET": "simulated-vonage-signature-secret-0123456789",
}
