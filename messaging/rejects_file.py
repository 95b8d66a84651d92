"""The rows of a file that could not be used, beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from messaging.recipients import RecipientFileError, Rejection


class RejectsFile:
    """Rejected rows, written beside the recipients as they are met."""

    def __init__(self, recipients: Path) -> None:
        self.path = recipients.parent / f"{recipients.stem}.rejected.csv"
        self._file: TextIO | None = None

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
                self._file = self.path.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(["line", "reason", "address"])
            csv.writer(self._file).writerow(
                [rejection.line, rejection.reason, rejection.address]
            )

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
