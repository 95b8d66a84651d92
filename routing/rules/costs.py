"""What a message costs at a provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from routing.providers.base import Acceptance
from routing.vocabulary import Channel

PLACES = 6  # decimals of a price
LIMIT = 10**6  # no message costs as much; it is what the attempt's column holds
_CURRENCY = re.compile(r"[A-Z]{3}")


class PriceError(ValueError):
    """The options hold something that is no price."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount with its currency (ISO 4217)."""

    amount: Decimal
    currency: str


def cost_of(
    acceptance: Acceptance,
    *,
    channel: Channel,
    segments: int,
    estimate: Money | None,
) -> Money | None:
    """The provider's own figure or, without one, our estimate; None if unknown.

    The estimate was made for our count of an SMS's segments; where the provider counts
    others, it is corrected by that.
    """
    if said := as_money(acceptance.cost, acceptance.currency):
        return said
    if estimate is None:
        return None
    amount = estimate.amount
    if channel == Channel.SMS and acceptance.segments:
        amount = amount * acceptance.segments / segments
    return as_money(amount, estimate.currency)


def contract_price(options: Mapping[str, Any]) -> Money | None:
    """The options UNIT_PRICE and CURRENCY, None when there is no price.

    Raises PriceError for what is none; `routing.checks` looks before any message does.
    """
    text, currency = options.get("UNIT_PRICE"), options.get("CURRENCY", "USD")
    if text is None or text == "":
        return None
    try:
        price = as_money(Decimal(text), currency)
    except (InvalidOperation, TypeError, ValueError):
        price = None
    if price is None:
        raise PriceError(f"UNIT_PRICE {text!r} in CURRENCY {currency!r} is no price.")
    return price


def as_money(amount: Decimal | None, currency: str) -> Money | None:
    """Money that a column can hold; None for anything else."""
    if amount is None or not amount.is_finite() or not 0 <= amount < LIMIT:
        return None
    amount = round(amount, PLACES)
    if amount >= LIMIT or not _CURRENCY.fullmatch(currency):
        return None
    return Money(amount, currency)
