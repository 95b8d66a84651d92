"""CSV files as people's programs save them: read leniently, written safely.

Reading accepts commas, semicolons and tabs, blank lines at the top, and any spelling of
a column's name; errors give the line of the file. Writing keeps spreadsheets from
running a cell as a formula, and reading removes that protection. No Django.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from io import IncrementalNewlineDecoder, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import ClassVar

from routing.text.invisible import UNSEEN

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
CELL_LIMIT = 10_000  # characters
LINE_LIMIT = 1_000_000  # characters; a file without newlines must not fill the memory
COLUMN_LIMIT = 1000
BLOCK = 65_536  # bytes

# First bytes of files that are not UTF-8 text, the longest first.
_FORMATS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"PK\x03\x04": "an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
}
SAVE_AS = "Save it as CSV UTF-8."

_UNSEEN = re.compile(f"[{UNSEEN}]+")
# Excel's own first line, which states the delimiter.
_DECLARED = re.compile(r'"?sep=([,;\t])"?')

# A spreadsheet would run such a cell as a formula. An apostrophe before it makes it
# text, so it may already have some.
_FORMULA = re.compile(
    rf"\A(?:['\s{UNSEEN}]*+[=+\-@\uff1d\uff0b\uff0d\uff20]|'*+[\t\r\n])"
)


class CsvFileError(ValueError):
    """The file cannot be used at all."""


def column_key(name: str) -> str:
    """The canonical form of a column's name: case, spaces, invisible characters and the
    encoding of accents do not matter.
    """
    if name.isascii() and name.isidentifier():
        return name.lower()
    visible = _UNSEEN.sub("", unicodedata.normalize("NFKC", name))
    return " ".join(unicodedata.normalize("NFKC", visible.casefold()).split())


def harmless(cell: str) -> str:
    """The cell so that no spreadsheet runs it as a formula; `plain` reverses this."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def plain(cell: str) -> str:
    """The cell that `harmless` was given."""
    is_marked = cell.startswith("'") and _FORMULA.match(cell[1:])
    return cell[1:] if is_marked else cell


class CsvFile:
    """A CSV file with a header, UTF-8, read in bounded memory."""

    error: ClassVar[type[CsvFileError]] = CsvFileError
    # Expected columns (`squeezed`), by which the delimiter is recognized.
    known: Collection[str] = ()

    def __init__(self, path: Path) -> None:
        """Reads the header; raises `error` if the file cannot be used."""
        self.path = path
        self.bytes_read = 0
        self.delimiter = ","
        try:
            self.size = path.stat().st_size
            self._check_format()
            self._find_header()
        except OSError as error:
            raise self.error(f"{path} cannot be read: {error.strerror}.") from error
        self._check_header()

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The non-blank rows after the header, each with the line that it starts on."""
        rows = self._rows(self.delimiter)
        for line, _ in rows:
            if line >= self.header_line:
                break
        return rows

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's content."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def column(self, *names: str) -> str | None:
        """The key of the first of these columns that the file has, ignoring spaces,
        hyphens and underscores.
        """
        keys = {squeezed(key): key for key in self.columns}
        return next((keys[name] for name in map(squeezed, names) if name in keys), None)

    def columns_like(self, names: Collection[str]) -> list[str]:
        """The keys of all columns whose squeezed form is one of these."""
        return [key for key in self.columns if squeezed(key) in names]

    def refuse(self, problem: str) -> CsvFileError:
        """An error about the file."""
        return self.error(f"{self.path} {problem}")

    def _check_format(self) -> None:
        with self.path.open("rb") as file:
            start = file.read(64)
        self.has_mark = start.startswith(codecs.BOM_UTF8)
        for mark, name in _FORMATS.items():
            if start.startswith(mark):
                raise self._other_format(name)
        if start.count(b"\0") > len(start) / 4:
            raise self._other_format("UTF-16")

    def _other_format(self, name: str) -> CsvFileError:
        return self.refuse(f"is not UTF-8 at line 1: it is {name}. {SAVE_AS}")

    def _find_header(self) -> None:
        """Find the first row that is not blank, and the delimiter of its cells."""
        headers: dict[str, tuple[int, list[str]]] = {}
        problems = []
        declared = self._declared_delimiter()
        for each in declared or DELIMITERS:
            rows = (row for row in self._rows(each) if _says_something(row[1]))
            try:
                header = [*islice(rows, 2 if declared else 1)]
            except CsvFileError as error:
                problems.append(error)
            else:
                headers |= {each: header[-1]} if header else {}
        if problems and not headers:
            raise problems[0]
        self.delimiter = self._chosen(headers)
        self.header_line, self.header = headers.get(self.delimiter, (1, []))
        self.columns = [*map(column_key, self.header)]

    def _declared_delimiter(self) -> str:
        """The delimiter of a first line such as `sep=;`, else ""."""
        with self.path.open(encoding="utf-8-sig", errors="replace") as file:
            declared = _DECLARED.fullmatch(file.readline(20).strip())
        return declared[1] if declared else ""

    def _chosen(self, headers: dict[str, tuple[int, list[str]]]) -> str:
        """The delimiter of the header; if it has several, the one that gives known
        columns.
        """
        several = [each for each, (_, cells) in headers.items() if len(cells) > 1]
        if len(several) > 1:
            knowing = [each for each in several if self._knows(headers[each][1])]
            several = knowing or several
        if len(several) > 1 and self._knows(headers[several[0]][1]):
            names = " and ".join(DELIMITERS[each] for each in several)
            raise self.refuse(
                f"has {names} between its columns. Put names that contain any in "
                "quotes."
            )
        return several[0] if several else next(iter(headers), ",")

    def _knows(self, header: Iterable[str]) -> bool:
        return any(squeezed(column_key(name)) in self.known for name in header)

    def _check_header(self) -> None:
        if any("\0" in name for name in self.columns):
            raise self.refuse(f"is not UTF-8 at line {self.header_line}. {SAVE_AS}")
        if len(self.columns) > COLUMN_LIMIT:
            raise self.refuse(
                f"has {len(self.columns)} columns; at most {COLUMN_LIMIT} are allowed."
            )
        named = Counter(filter(None, self.columns))
        if twice := [name for name, count in named.items() if count > 1]:
            raise self.refuse(f"has the column {min(twice)[:40]!r} twice. Rename one.")

    def _rows(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        with (
            self.path.open("rb") as raw,
            TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
        ):
            lines = self._lines(file)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            try:
                line = 1
                for cells in reader:
                    self.bytes_read = raw.tell()
                    text = "".join(cells)
                    if len(text) > CELL_LIMIT:
                        self._check_cells(cells, line)
                    if "'" in text:
                        cells = [*map(plain, cells)]
                    if text and not text.isspace():
                        yield line, cells
                    line = reader.line_num + 1
            except UnicodeDecodeError:
                raise self._not_utf8() from None
            except csv.Error as error:
                raise self.refuse(
                    f"is not valid CSV at line {reader.line_num}: {error}."
                ) from None

    def _lines(self, file: TextIOWrapper) -> Iterator[str]:
        for number, line in enumerate(iter(partial(file.readline, LINE_LIMIT), ""), 1):
            if len(line) == LINE_LIMIT:
                raise self.refuse(
                    f"has no end of line within {LINE_LIMIT} characters at line "
                    f"{number}. Is it CSV?"
                )
            yield line

    def _check_cells(self, cells: Sequence[str], line: int) -> None:
        longest = max(map(len, cells))
        if longest > CELL_LIMIT:
            raise self.refuse(
                f"has a cell of {longest} characters at line {line}; at most "
                f"{CELL_LIMIT} are allowed. Is a quote left open?"
            )

    def _not_utf8(self) -> CsvFileError:
        """Find the byte: text is decoded in blocks, far ahead of the current row."""
        line, byte = _first_foreign_byte(self.path)
        letter = bytes([byte]).decode("cp1252", "replace")
        guess = f", which is {letter!r} in Windows-1252" if letter.isprintable() else ""
        return self.refuse(
            f"is not UTF-8 at line {line}: it has the byte 0x{byte:02X}{guess}. "
            f"{SAVE_AS}"
        )


def _says_something(cells: Iterable[str]) -> bool:
    """Whether the row has more than delimiters and spaces."""
    return any(column_key(cell).strip(" ,;") for cell in cells)


def squeezed(name: str) -> str:
    """A key without separators between its words."""
    return re.sub(r"[\s_.-]+", "", name)


def _first_foreign_byte(path: Path) -> tuple[int, int]:
    """The line and value of the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = IncrementalNewlineDecoder(None, translate=True)
    line = 1
    with path.open("rb") as file:
        for block in iter(partial(file.read, BLOCK), b""):
            try:
                line += newlines.decode(decoder.decode(block)).count("\n")
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode()
                line += newlines.decode(good, final=True).count("\n")
                return line, error.object[error.start]
    left, _ = decoder.getstate()
    return line, left[0]
