"""Rate decks from CSV files: the whole file is valid, or its bad lines are listed."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

from routing.csv_files import CsvFile, CsvFileError, squeezed
from routing.money import LIMIT, Money
from routing.rules.costs import problem_with_country, problem_with_prefix
from routing.text.quantities import quantity

# Possible names of the price's column; a file must have exactly one of them.
PRICE_COLUMNS = ("price_per_segment", "price")
PLACE_COLUMNS = ("prefix", "country")
SMALLEST = Decimal("0.000001")  # the precision of the price's column
SHOWN = 10  # problems, at most

# What a price is for: dial prefix and country.
Place = tuple[str, str]


class RateFileError(CsvFileError):
    """The file cannot be imported; the text says why, line by line."""


class _RowError(ValueError):
    """The row cannot be used, for this reason."""


def read_rate_file(path: Path) -> dict[Place, Money]:
    """The prices of a CSV file (UTF-8, with a header), in its order.

    Raises RateFileError, which lists the first bad lines.
    """
    deck = _RateFile(path)
    prices: dict[Place, Money] = {}
    lines: dict[Place, int] = {}
    problems = _Problems(path)
    for line, cells in deck.rows():
        try:
            place, price = deck.read(cells)
        except _RowError as error:
            problems.add(line, str(error))
            continue
        if place in lines:
            problems.add(line, f"it repeats the destination of line {lines[place]}")
        lines[place], prices[place] = line, price
    problems.refuse()
    if not prices:
        raise RateFileError(f"{path} has no prices: there is no row after the header.")
    return prices


class _RateFile(CsvFile):
    """A deck's columns, and how to read its rows."""

    error = RateFileError
    known = frozenset(map(squeezed, (*PRICE_COLUMNS, *PLACE_COLUMNS, "currency")))

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if not any(self.columns):
            raise self.refuse(
                "is empty. The first line names the columns: "
                "country,prefix,price_per_segment,currency."
            )
        prices = [*filter(None, map(self.column, PRICE_COLUMNS))]
        if len(prices) != 1:
            raise self._lacks("one", PRICE_COLUMNS)
        if not (currency := self.column("currency")):
            raise self._lacks("the", ("currency",))
        self._prefix, self._country = map(self.column, PLACE_COLUMNS)
        if not (self._prefix or self._country):
            raise self._lacks("at least one", PLACE_COLUMNS)
        self._price, self._currency = prices[0], currency

    def read(self, cells: list[str]) -> tuple[Place, Money]:
        """A row's destination and price; _RowError if it cannot be used."""
        if len(cells) != len(self.columns):
            raise _RowError(
                f"it has {quantity(len(cells), 'cell')}, the header has "
                f"{len(self.columns)}"
            )
        row = dict(zip(self.columns, map(str.strip, cells), strict=True))
        prefix = row[self._prefix] if self._prefix else ""
        country = row[self._country] if self._country else ""
        place = _place(prefix, country.upper())
        return place, Money(_price(row[self._price]), _currency(row[self._currency]))

    def _lacks(self, how_many: str, wanted: tuple[str, ...]) -> CsvFileError:
        # A file that is not a deck may have any header.
        return self.refuse(
            f"needs {how_many} column {' or '.join(map(repr, wanted))}. "
            f"It has: {', '.join(self.columns)[:100]}."
        )


class _Problems:
    """The problems of a file: the first ones, and how many more there are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown: list[str] = []
        self._more = 0

    def add(self, line: int, problem: str) -> None:
        """Note a problem."""
        if len(self._shown) < SHOWN:
            self._shown.append(f"line {line}: {problem}")
        else:
            self._more += 1

    def refuse(self) -> None:
        """Raise RateFileError if there are any."""
        more = [f"and {self._more} more"] if self._more else []
        if self._shown:
            problems = "; ".join([*self._shown, *more])
            raise RateFileError(f"{self._path} was not imported: {problems}.")


def _place(prefix: str, country: str) -> Place:
    if not prefix and not country:
        raise _RowError("it has neither a prefix nor a country")
    if problem := problem_with_prefix(prefix) or problem_with_country(country):
        raise _RowError(problem)
    return prefix, country


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or "_" in text:
        raise _RowError(f"the price {text[:40]!r} is not a number such as 0.0075")
    if price < 0:
        raise _RowError(f"the price {text[:40]!r} is below 0")
    if price >= LIMIT:
        raise _RowError(f"the price {text[:40]!r} is not below {LIMIT}")
    if price != (held := price.quantize(SMALLEST)):
        raise _RowError(f"the price {text[:40]!r} has more than 6 decimals")
    return abs(held)  # "-0" counts as 0


def _currency(text: str) -> str:
    code = text.upper()
    if len(code) != 3 or not (code.isascii() and code.isalpha()):
        raise _RowError(f"{text[:40]!r} is not a currency code (ISO 4217) such as EUR")
    return code
