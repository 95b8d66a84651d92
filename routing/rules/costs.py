"""What a message costs at a provider."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from routing.money import Money, as_money
from routing.providers.base import Acceptance
from routing.vocabulary import Channel


class PriceError(ValueError):
    """The options contain something that is not a price."""


def cost_of(
    acceptance: Acceptance,
    *,
    channel: Channel,
    segments: int,
    estimate: Money | None,
) -> Money | None:
    """The provider's own figure or, without one, our estimate; None if unknown.

    The estimate was made for our count of an SMS's segments; if the provider's count
    differs, it is corrected accordingly.
    """
    if stated := as_money(acceptance.cost, acceptance.currency):
        return stated
    if estimate is None:
        return None
    amount = estimate.amount
    if channel == Channel.SMS and acceptance.segments:
        amount = amount * acceptance.segments / segments
    return as_money(amount, estimate.currency)


def contract_price(options: Mapping[str, Any]) -> Money | None:
    """The options UNIT_PRICE and CURRENCY as a price, None if there is none.

    Raises PriceError for an invalid one; `routing.checks` finds it before any message.
    """
    text, currency = options.get("UNIT_PRICE"), options.get("CURRENCY", "USD")
    if text is None or text == "":
        return None
    try:
        price = as_money(Decimal(text), currency)
    except (InvalidOperation, TypeError, ValueError):
        price = None
    if price is None:
        raise PriceError(
            f"UNIT_PRICE {text!r} with CURRENCY {currency!r} is not a valid price."
        )
    return price
