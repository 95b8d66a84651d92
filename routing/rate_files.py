"""Rate decks from CSV files: the whole file is good, or its bad lines are named."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from routing.costs import LIMIT, Money
from routing.rates import problem_with_country, problem_with_prefix

# What a deck may call its price; one file has one of them.
PRICE_COLUMNS = ("price_per_segment", "price")
PLACE_COLUMNS = ("prefix", "country")
SMALLEST = Decimal("0.000001")  # what the price's column holds
SHOWN = 10  # problems, at most

# Where a price holds: dial prefix and country.
Place = tuple[str, str]


class RateFileError(ValueError):
    """The file cannot be imported; the text says why, line by line."""


class _RowError(ValueError):
    """The row cannot be used, for this reason."""


def read_rate_file(path: Path) -> dict[Place, Money]:
    """The prices of a CSV file (UTF-8, with a header), in its order.

    Raises RateFileError, which names the first lines that are wrong.
    """
    rows = _rows(path)
    _, header = next(rows, (1, []))
    columns = _Columns(path, header)
    prices: dict[Place, Money] = {}
    lines: dict[Place, int] = {}
    problems: list[str] = []
    for line, cells in rows:
        try:
            place, price = columns.read(cells)
        except _RowError as error:
            problems.append(f"line {line}: {error}")
            continue
        if place in lines:
            problems.append(
                f"line {line}: it repeats the destination of line {lines[place]}"
            )
        lines[place], prices[place] = line, price
    if problems:
        raise RateFileError(_summary(path, problems))
    if not prices:
        raise RateFileError(f"{path} has no prices: there is no row after the header.")
    return prices


class _Columns:
    """Where the cells of a row stand."""

    def __init__(self, path: Path, header: list[str]) -> None:
        self._names = [name.strip().lower() for name in header]
        self._path = path
        if not any(self._names):
            self._refuse(
                "is empty. The first line names the columns: "
                "country,prefix,price_per_segment,currency."
            )
        if twice := {name for name in self._names if self._names.count(name) > 1}:
            self._refuse(f"has the column {min(twice)[:40]!r} twice. Rename one.")
        prices = [name for name in PRICE_COLUMNS if name in self._names]
        if len(prices) != 1:
            self._refuse_columns("one", PRICE_COLUMNS)
        if "currency" not in self._names:
            self._refuse_columns("the", ("currency",))
        if not set(PLACE_COLUMNS) & set(self._names):
            self._refuse_columns("at least one", PLACE_COLUMNS)
        self._price = prices[0]

    def read(self, cells: list[str]) -> tuple[Place, Money]:
        """A row's destination and price; _RowError when it has none."""
        if len(cells) != len(self._names):
            raise _RowError(
                f"it has {len(cells)} cells, the header has {len(self._names)}"
            )
        row = dict(zip(self._names, map(str.strip, cells), strict=True))
        place = _place(row.get("prefix", ""), row.get("country", "").upper())
        return place, Money(_price(row[self._price]), _currency(row["currency"]))

    def _refuse_columns(self, how_many: str, wanted: tuple[str, ...]) -> None:
        # What is no deck may have anything for a header.
        found = " ".join(", ".join(self._names).split())
        self._refuse(
            f"needs {how_many} column {' or '.join(map(repr, wanted))}. "
            f"It has: {found[:100]}."
        )

    def _refuse(self, reason: str) -> None:
        raise RateFileError(f"{self._path} {reason}")


def _place(prefix: str, country: str) -> Place:
    if not prefix and not country:
        raise _RowError("it names neither a prefix nor a country")
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
    return abs(held)  # "-0" is a price too


def _currency(text: str) -> str:
    code = text.upper()
    if len(code) != 3 or not (code.isascii() and code.isalpha()):
        raise _RowError(f"{text[:40]!r} is not a currency code (ISO 4217) such as EUR")
    return code


def _summary(path: Path, problems: list[str]) -> str:
    shown = problems[:SHOWN]
    if len(problems) > SHOWN:
        shown.append(f"and {len(problems) - SHOWN} more")
    return f"{path} was not imported: {'; '.join(shown)}."


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of cells that are not blank, each with the line that it starts on."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield line, cells
                line = reader.line_num + 1
    except OSError as error:
        raise RateFileError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise RateFileError(
            f"{path} is not UTF-8 after line {line - 1}. Save it as CSV UTF-8."
        ) from None
    except csv.Error as error:
        raise RateFileError(
            f"{path} is not valid CSV at line {line}: {error}."
        ) from None
