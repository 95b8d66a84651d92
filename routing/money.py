"""An amount with its currency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

PLACES = 6  # decimals of a price
LIMIT = 10**6  # more than any message costs; the limit of the attempt's column
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount with its currency (ISO 4217)."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        """For people, such as "0.0075 USD": without the zeros that columns add."""
        return f"{self.amount.normalize():f} {self.currency}"


def as_money(amount: Decimal | None, currency: str) -> Money | None:
    """Money, if the columns can hold it, else None."""
    if amount is None or not amount.is_finite() or not 0 <= amount < LIMIT:
        return None
    amount = round(amount, PLACES)
    if amount >= LIMIT or not _CURRENCY.fullmatch(currency):
        return None
    return Money(amount, currency)
