"""Recipients from a CSV file, row by row: each is taken, or rejected with a reason."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from messaging.addresses import Address, AddressError, check_region, parse_address
from routing.vocabulary import Channel

# The column with the address, by channel: the first of these that the file has.
ADDRESS_COLUMNS = {
    Channel.SMS: ("phone", "recipient"),
    Channel.MMS: ("phone", "recipient"),
    Channel.EMAIL: ("email", "recipient"),
}
CELL_LIMIT = 10_000  # characters
LINE_LIMIT = 1_000_000  # characters; a file without newlines must not fill the memory


class RecipientFileError(ValueError):
    """The file cannot be used at all."""


class Recipient(NamedTuple):
    """A usable row: where to send, and the values for the text's fields."""

    line: int
    address: Address
    values: dict[str, str]
    cells: Sequence[str] = ()  # as they stand in the file

    def rejected(self, reason: str) -> Rejection:
        """The row as one that cannot be used after all."""
        return Rejection(self.line, reason, self.address.text, self.cells)


class Rejection(NamedTuple):
    """A row that cannot be used, and why."""

    line: int
    reason: str
    address: str
    cells: Sequence[str] = ()  # as they stand in the file


def read_row(
    channel: Channel, line: int, text: str, values: dict[str, str], *, region: str
) -> Recipient | Rejection:
    """A row with this address; `region` is where a national number is at home."""
    try:
        address = parse_address(channel, text, region=region)
    except AddressError as error:
        return Rejection(line, str(error), text)
    return Recipient(line, address, values)


class RecipientFile:
    """A CSV file with a header, UTF-8, read in bounded memory."""

    def __init__(
        self, path: Path, *, channel: Channel, default_region: str = ""
    ) -> None:
        """Reads the header; RecipientFileError when the file cannot be used."""
        self.path = path
        self.channel = channel
        self.default_region = _region(default_region)
        self.bytes_read = 0
        try:
            self.size = path.stat().st_size
            _, self.columns = next(self._rows(), (1, []))
        except OSError as error:
            raise RecipientFileError(
                f"{path} cannot be read: {error.strerror}."
            ) from error
        self._check_columns()

    def __iter__(self) -> Iterator[Recipient | Rejection]:
        """Each row after the header, in order; RecipientFileError on a broken file."""
        rows = self._rows()
        next(rows)
        for line, cells in rows:
            if any(map(str.strip, cells)):
                yield self._read(line, cells)

    def _read(self, line: int, cells: list[str]) -> Recipient | Rejection:
        if len(cells) != len(self.columns):
            return Rejection(
                line,
                f"it has {len(cells)} cells, the header has {len(self.columns)}",
                cells[0],
            )
        values = dict(zip(self.columns, map(str.strip, cells), strict=True))
        text = values[self._address_column]
        if "\0" in "".join(cells):
            return Rejection(line, "it contains a NUL character", text)
        region = values.get("country") or self.default_region
        return read_row(self.channel, line, text, values, region=region)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows of cells, each with the line of the file that it starts on."""
        with (
            self.path.open("rb") as raw,
            TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
        ):
            reader = csv.reader(self._lines(file), strict=True)
            try:
                line = 1
                for cells in reader:
                    self.bytes_read = raw.tell()
                    self._check_cells(cells, line)
                    yield line, cells
                    line = reader.line_num + 1
            except UnicodeDecodeError:
                raise RecipientFileError(
                    f"{self.path} is not UTF-8 after line {reader.line_num}. Save it "
                    "as CSV UTF-8."
                ) from None
            except csv.Error as error:
                raise RecipientFileError(
                    f"{self.path} is not valid CSV at line {reader.line_num}: {error}."
                ) from None

    def _lines(self, file: TextIOWrapper) -> Iterator[str]:
        for number, line in enumerate(iter(partial(file.readline, LINE_LIMIT), ""), 1):
            if len(line) == LINE_LIMIT:
                raise RecipientFileError(
                    f"{self.path} has no end of line within {LINE_LIMIT} characters at "
                    f"line {number}. Is it CSV?"
                )
            yield line

    def _check_cells(self, cells: list[str], line: int) -> None:
        if sum(map(len, cells)) <= CELL_LIMIT:
            return
        longest = max(map(len, cells))
        if longest > CELL_LIMIT:
            raise RecipientFileError(
                f"{self.path} has a cell of {longest} characters at line {line}; "
                f"at most {CELL_LIMIT} are allowed. Is a quote left open?"
            )

    def _check_columns(self) -> None:
        self.columns = [name.strip().lower() for name in self.columns]
        if not any(self.columns):
            raise RecipientFileError(
                f"{self.path} is empty. The first line names the columns, such as "
                f"{ADDRESS_COLUMNS[self.channel][0]},first_name."
            )
        names = list(filter(None, self.columns))
        if any("\0" in name for name in names):
            raise RecipientFileError(f"{self.path} is not UTF-8. Save it as CSV UTF-8.")
        if twice := {name for name in names if names.count(name) > 1}:
            raise RecipientFileError(
                f"{self.path} has the column {min(twice)!r} twice. Rename one."
            )
        wanted = ADDRESS_COLUMNS[self.channel]
        found = [name for name in wanted if name in self.columns]
        if not found and len(names) == 1 and ";" in names[0]:
            raise RecipientFileError(
                f"{self.path} has semicolons between its columns. Save it with commas."
            )
        if not found:
            raise RecipientFileError(
                f"{self.path} has no column {' or '.join(map(repr, wanted))} for the "
                f"{self.channel.label} address. It has: {_one_line(names)}."
            )
        self._address_column = found[0]


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
