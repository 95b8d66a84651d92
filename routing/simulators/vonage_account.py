"""Shared by both Vonage APIs: the account's key and secret."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from routing.simulators import credentials

_PAIR = f"{credentials.VONAGE_API_KEY}:{credentials.VONAGE_API_SECRET}"
_BASIC = "Basic " + base64.b64encode(_PAIR.encode()).decode()


def is_basic_authorized(headers: Mapping[str, str]) -> bool:
    """Whether the header is Basic with the simulated account's key and secret."""
    return headers.get("Authorization") == _BASIC
