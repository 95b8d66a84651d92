"""What the verification of receipts has in common: equality and age."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from routing.providers.base import ForgedReceipt

# A signature is valid for five minutes before and after its time, as most providers
# advise, unless the option RECEIPT_MAX_AGE (seconds) says otherwise.
DEFAULT_MAX_AGE_SECONDS = 300.0


def problem_with_max_age(options: Mapping[str, Any]) -> str:
    """Why no signature could ever be recent enough; "" if the option is usable."""
    age = float(options.get("RECEIPT_MAX_AGE", DEFAULT_MAX_AGE_SECONDS))
    return "" if age > 0 else "RECEIPT_MAX_AGE_SECONDS must be above 0."


def require_equal(given: str, expected: str) -> None:
    """Raise ForgedReceipt unless equal; takes the same time wherever they differ."""
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise ForgedReceipt("The signature does not match.")


def require_recent(signed_at: datetime, *, now: datetime, max_age: timedelta) -> None:
    """Raise ForgedReceipt for a signature that is too old or too new: a replay."""
    if abs(now - signed_at) > max_age:
        raise ForgedReceipt(f"The signature is from {signed_at:%Y-%m-%d %H:%M:%S} UTC.")
