"""Recipients from a CSV file: each row is accepted, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from messaging.addresses import Address, AddressError, check_region, parse_recipient
from routing.csv_files import CsvFile, CsvFileError
from routing.text.quantities import quantity
from routing.vocabulary import Channel

# The address column by channel: the first of these names that the file has ...
ADDRESS_COLUMNS = {
    Channel.SMS: ("phone", "recipient"),
    Channel.MMS: ("phone", "recipient"),
    Channel.EMAIL: ("email", "recipient"),
}
# ... or else the only one of these, in upper or lower case, with any separators.
_PHONES = frozenset(
    [
        *("phone", "phonenumber", "phoneno", "mobile", "mobilenumber", "mobilephone"),
        *("mobilephonenumber", "mobileno", "cell", "cellphone", "cellphonenumber"),
        *("cellnumber", "telephone", "telephonenumber", "tel", "msisdn"),
    ]
)
SYNONYMS = {
    Channel.SMS: _PHONES,
    Channel.MMS: _PHONES,
    Channel.EMAIL: frozenset(["email", "emailaddress", "mail", "mailaddress"]),
}
# The column with the country of national numbers, if none is named `country`.
COUNTRY_COLUMNS = frozenset(
    [
        *("countrycode", "countryiso", "countryiso2", "countryisocode"),
        *("isocountry", "isocountrycode", "iso2"),
    ]
)
# Decides which addresses are accepted: parse_recipient or parse_address.
AddressParser = Callable[..., Address]


class RecipientFileError(CsvFileError):
    """The file cannot be used at all."""


class Recipient(NamedTuple):
    """A usable row: the address, and the values for the text's merge fields."""

    line: int
    address: Address
    values: dict[str, str]
    cells: Sequence[str] = ()  # as in the file

    def rejected(self, reason: str) -> Rejection:
        """The rejection of this row, which cannot be used after all."""
        return Rejection(self.line, reason, self.address.text, self.cells)


class Rejection(NamedTuple):
    """A row that cannot be used, and why."""

    line: int
    reason: str
    address: str
    cells: Sequence[str] = ()  # as in the file


class RecipientFile(CsvFile):
    """A CSV file with a column of addresses."""

    error = RecipientFileError

    def __init__(
        self,
        path: Path,
        *,
        channel: Channel,
        default_region: str = "",
        parse: AddressParser = parse_recipient,
        country_in: str = "in a column country",
    ) -> None:
        """Read the header; RecipientFileError if the file cannot be used.

        `country_in` says, in errors, where a national number's country may be given.
        """
        self.channel = channel
        self._parse = parse
        self._country_in = country_in
        self.default_region = _region(default_region)
        self.known = {*ADDRESS_COLUMNS[channel], *SYNONYMS[channel]}
        super().__init__(path)
        self._address_column = self._find_address_column()
        self._country_column = self._find_country_column()

    def __iter__(self) -> Iterator[Recipient | Rejection]:
        """Each row after the header, in order; RecipientFileError on a broken file."""
        for line, cells in self.rows():
            yield self._read(line, cells)

    def _read(self, line: int, cells: list[str]) -> Recipient | Rejection:
        if len(cells) != len(self.columns):
            return Rejection(
                line,
                f"it has {quantity(len(cells), 'cell')}, the header has "
                f"{len(self.columns)}",
                cells[0],
                cells,
            )
        values = dict(zip(self.columns, map(str.strip, cells), strict=True))
        text = values[self._address_column]
        if "\0" in "".join(cells):
            return Rejection(line, "it contains a NUL character", text, cells)
        region = values.get(self._country_column) or self.default_region
        if text.startswith("+") and self._country_column != "country":
            region = ""  # it may be a calling code, which adds nothing
        try:
            address = self._parse(self.channel, text, region=region)
        except AddressError as error:
            reason = error.with_hint(country_in=self._country_in)
            return Rejection(line, reason, text, cells)
        return Recipient(line, address, values, cells)

    def _find_country_column(self) -> str:
        if "country" in self.columns:
            return "country"
        similar = self.columns_like(COUNTRY_COLUMNS)
        if len(similar) > 1:
            raise self.refuse(
                f"has several columns for the country: {_one_line(similar)}. Name the "
                "one to use country."
            )
        return next(iter(similar), "country")

    def _find_address_column(self) -> str:
        wanted = ADDRESS_COLUMNS[self.channel]
        if not any(self.columns):
            raise self.refuse(
                "is empty. The first line names the columns, such as "
                f"{wanted[0]},first_name."
            )
        if found := next((name for name in wanted if name in self.columns), None):
            return found
        similar = self.columns_like(SYNONYMS[self.channel])
        if len(similar) > 1:
            raise self.refuse(
                f"has several columns for the {self.channel.label} address: "
                f"{_one_line(similar)}. Name the one to use {wanted[0]}."
            )
        if not similar:
            raise self.refuse(
                f"has no column {' or '.join(map(repr, wanted))} for the "
                f"{self.channel.label} address. It has: "
                f"{_one_line(filter(None, self.columns))}."
            )
        return similar[0]


def _one_line(names: Iterable[str]) -> str:
    """Column names as a short list; a name may hold newlines."""
    return " ".join(", ".join(names).split())[:200]


def _region(code: str) -> str:
    code = code.strip().upper()
    try:
        if code:
            check_region(code)
    except AddressError as error:
        raise RecipientFileError(f"The default region {error}.") from None
    return code
