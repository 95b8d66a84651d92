"""The rows of a file that could not be used, beside it."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from messaging.recipients import RecipientFileError, Rejection
from routing.csv_files import CsvFile, harmless

# What is said of a row; the second where the file has a column of the first.
ABOUT = (("line", "reason"), ("rejected_line", "rejected_reason"))


class RejectsFile:
    """Rejected rows, written beside their file as they are met.

    Each has its line, its reason and all its cells, so that it can be mended there and
    sent; no spreadsheet takes a cell of it for a formula. Nobody may read it who may
    not read that file.
    """

    def __init__(self, rows: Path) -> None:
        self._rows = rows
        self.path = rows.parent / f"{rows.stem}.rejected.csv"
        self._file: TextIO | None = None

    def of(self, file: CsvFile) -> RejectsFile:
        """The rows are this file's; what an earlier run said of them is left out."""
        begins_with = tuple(file.columns[:2])
        self._kept = slice(2 if begins_with in ABOUT else 0, None)
        taken = {*file.columns[self._kept]}
        about = next((each for each in ABOUT if taken.isdisjoint(each)), ABOUT[0])
        self._header = [*about, *file.header[self._kept]]
        self._delimiter = file.delimiter
        self._encoding = "utf-8-sig" if file.has_mark else "utf-8"
        return self

    @property
    def hint(self) -> str:
        """Where to look, for the end of a sentence; "" when nothing was rejected."""
        return f" The rejected rows are in {self.path}." if self._file else ""

    def __enter__(self) -> RejectsFile:
        with self._refused_in_one_line():
            if self.path.exists():
                self.path.unlink()  # of an earlier run
        return self

    def write(self, rejection: Rejection) -> None:
        """Add a row; the file is made with the first one."""
        with self._refused_in_one_line():
            if self._file is None:
                self._file = self._made()
                self._add(self._header)
            cells = rejection.cells[self._kept]
            self._add([str(rejection.line), rejection.reason, *cells])

    def _made(self) -> TextIO:
        mode = stat.S_IMODE(self._rows.stat().st_mode) & 0o666 | stat.S_IWUSR
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        return os.fdopen(handle, "w", encoding=self._encoding, newline="")

    def _add(self, cells: Iterable[str]) -> None:
        rows = csv.writer(self._file, delimiter=self._delimiter)  # type: ignore[arg-type]
        rows.writerow(map(harmless, cells))

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with self._refused_in_one_line():
                self._file.close()

    @contextmanager
    def _refused_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecipientFileError(
                f"{self.path} cannot be written: {error.strerror}."
            ) from error
