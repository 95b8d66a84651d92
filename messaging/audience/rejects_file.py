"""The file of rejected rows, beside the file that they come from."""

from __future__ import annotations

import csv
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from messaging.audience.recipients import RecipientFileError, Rejection
from routing.csv_files import CsvFile, harmless

# The added columns; the second pair is used if the file has a column of the first.
ABOUT = (("line", "reason"), ("rejected_line", "rejected_reason"))


class RejectsFile:
    """Rejected rows, written beside their file as they are found.

    Each has its line, the reason and all its cells, so that it can be corrected there
    and sent; no spreadsheet reads its cells as formulas. Its permissions are those of
    the original file. The file of an earlier run may hold someone's corrections: a run
    that is refused leaves it as it is.
    """

    def __init__(self, rows: Path) -> None:
        self._rows = rows
        self.path = rows.parent / f"{rows.stem}.rejected.csv"
        self._file: TextIO | None = None

    def of(self, file: CsvFile) -> RejectsFile:
        """Use this file's columns, without those that an earlier run added."""
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
        """A sentence that says where the rows are; "" if nothing was rejected."""
        return f" The rejected rows are in {self.path}." if self._file else ""

    def __enter__(self) -> RejectsFile:
        with self._refused_in_one_line():
            if self.path.is_dir():
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            if self.path.exists() and not os.access(self.path.parent, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return self

    def write(self, rejection: Rejection) -> None:
        """Add a row; the first one creates the file."""
        with self._refused_in_one_line():
            if self._file is None:
                self._file = self._made()
                self._add(self._header)
            cells = rejection.cells[self._kept]
            self._add([str(rejection.line), rejection.reason, *cells])

    def _made(self) -> TextIO:
        self.path.unlink(missing_ok=True)  # of an earlier run
        mode = stat.S_IMODE(self._rows.stat().st_mode) & 0o666 | stat.S_IWUSR
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        return os.fdopen(handle, "w", encoding=self._encoding, newline="")

    def _add(self, cells: Iterable[str]) -> None:
        rows = csv.writer(self._file, delimiter=self._delimiter)  # type: ignore[arg-type]
        rows.writerow(map(harmless, cells))

    def __exit__(self, refusal: type[BaseException] | None, *_: object) -> None:
        with self._refused_in_one_line():
            if self._file is not None:
                self._file.close()
            elif refusal is None:
                self.path.unlink(missing_ok=True)  # of an earlier run: all corrected

    @contextmanager
    def _refused_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecipientFileError(
                f"{self.path} cannot be written: {error.strerror}."
            ) from error
