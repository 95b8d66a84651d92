"""What a message costs: as its provider says, by a rate deck, or by contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import phonenumbers

from routing.money import Money, as_money
from routing.providers.base import Acceptance
from routing.vocabulary import Channel

# ISO 3166, plus Kosovo and the islands that have numbers but no code of their own; the
# library lacks only the places without any phone numbers.
COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS) | {
    *("AQ", "BV", "GS", "HM", "PN", "TF", "UM")
}
PREFIX_LIMIT = 15  # digits; no number of E.164 has more


@dataclass(frozen=True, slots=True)
class RateRow:
    """The price of a dial prefix, of a country, or of a prefix in a country."""

    dial_prefix: str
    country: str
    price: Money
    valid_from: date


class RateTable:
    """A rate deck, indexed for decks with hundreds of thousands of prefixes.

    A row is valid from its day until a later one of the same prefix and country. The
    first match among the valid rows gives the price:

    1. the longest prefix of the number, unless its row names another country: a deck
       with prefix 1 for US and CA does not price the Dominican Republic;
    2. the country without a prefix;
    3. the country with prefixes that are not the number's: decks are incomplete;
    4. the longest prefix, although its row names another country: Reunion's row also
       applies to Mayotte.

    If several rows match, the highest price counts, so that an uncertain price never
    wins on cost; rows in different currencies cannot be compared, and give no price.
    """

    def __init__(self, rows: Iterable[RateRow]) -> None:
        self._by_prefix: dict[str, list[RateRow]] = {}
        self._by_country: dict[str, list[RateRow]] = {}
        for row in sorted(rows, key=lambda row: row.valid_from, reverse=True):
            if row.dial_prefix:
                self._by_prefix.setdefault(row.dial_prefix, []).append(row)
            if row.country:
                self._by_country.setdefault(row.country, []).append(row)
        self.longest_prefix = max(map(len, self._by_prefix), default=0)  # in digits
        # A country may have thousands of prefixes: search them once a day.
        self._national: dict[tuple[str, date], list[Money]] = {}

    def price(self, *, recipient: str, country: str, on: date) -> Money | None:
        """The price of a unit to an E.164 number; None if the deck has none.

        `country` is ISO 3166, empty if unknown.
        """
        foreign: list[RateRow] = []
        for rows in self._prefixes_of(recipient, on):
            if own := [row for row in rows if _may_price(row, country)]:
                return _of_prefix(own, country)
            foreign = foreign or rows
        return _only(self._prices_of_country(country, on) or _dearest(foreign))

    def _prefixes_of(self, recipient: str, on: date) -> Iterator[list[RateRow]]:
        """The rows of each prefix of the number, the longest first."""
        digits = recipient.removeprefix("+")
        if not (digits.isascii() and digits.isdecimal()):
            return
        for length in range(min(self.longest_prefix, len(digits)), 0, -1):
            known = self._by_prefix.get(digits[:length])
            if known and (rows := _in_force(known, on)):
                yield rows

    def _prices_of_country(self, country: str, on: date) -> list[Money]:
        if (country, on) not in self._national:
            rows = _in_force(self._by_country.get(country, []), on)
            whole = [row for row in rows if not row.dial_prefix]
            self._national[country, on] = _dearest(whole or rows)
        return self._national[country, on]


def estimate(
    rate: Money | None, *, channel: Channel, segments: int, options: Mapping[str, Any]
) -> Money | None:
    """What a message will cost by the deck or else by contract; None if unknown.

    Prices are per segment for SMS, and per message for the other channels.
    """
    price = contract_price(options) if rate is None else rate
    if price is None:
        return None
    units = segments if channel == Channel.SMS else 1
    return Money(price.amount * units, price.currency)


def problem_with_prefix(text: str) -> str:
    """Why this is not a dial prefix; "" if it is one, or empty."""
    if not text or (
        text.isascii()
        and text.isdecimal()
        and text[0] != "0"
        and len(text) <= PREFIX_LIMIT
    ):
        return ""
    return (
        f"{text[:40]!r} is not a dial prefix such as 4479: digits only, starting with "
        f"the country code, at most {PREFIX_LIMIT}"
    )


def problem_with_country(text: str) -> str:
    """Why this is not a country; "" if it is one, or empty."""
    if not text or text in COUNTRIES:
        return ""
    return f"{text[:40]!r} is not a country code (ISO 3166) such as GB"


def _in_force(rows: Iterable[RateRow], on: date) -> list[RateRow]:
    """The valid row of each prefix and country; `rows` come latest first."""
    newest: dict[tuple[str, str], RateRow] = {}
    for row in rows:
        if row.valid_from <= on:
            newest.setdefault((row.dial_prefix, row.country), row)
    return list(newest.values())


def _may_price(row: RateRow, country: str) -> bool:
    return not row.country or not country or row.country == country


def _of_prefix(rows: list[RateRow], country: str) -> Money | None:
    """The price among a prefix's rows: the country's own, else that of any country."""
    for wanted in (country, ""):
        for row in rows:
            if row.country == wanted:
                return row.price
    return _only(_dearest(rows))


def _dearest(rows: Iterable[RateRow]) -> list[Money]:
    """The highest price in each currency."""
    highest: dict[str, Money] = {}
    for row in rows:
        known = highest.get(row.price.currency)
        if known is None or known.amount < row.price.amount:
            highest[row.price.currency] = row.price
    return list(highest.values())


def _only(prices: list[Money]) -> Money | None:
    return prices[0] if len(prices) == 1 else None


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
