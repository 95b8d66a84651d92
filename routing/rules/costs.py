"""What a message costs at a provider."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from routing.money import Money, as_money
from routing.providers.base import Acceptance
from routing.vocabulary import Channel


class PriceError(ValueError):
    """The options hold something that is no price."""


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
