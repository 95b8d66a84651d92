"""One write for what several threads have to write at the same time.

While one of them writes, what the others bring gathers, and the next one takes all of
it along. For SQLite, which has one writer at a time: threads that wait for their turn
there cost as much again as what they write. PostgreSQL lets all of them write at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Part(Generic[T]):
    """What one thread brings."""

    items: Sequence[T]
    is_taken: bool = False
    is_written: bool = False


class Together(Generic[T]):
    """Calls `write` in one thread at a time, with what several of them bring."""

    def __init__(self, write: Callable[[list[T]], None]) -> None:
        self._write = write
        self._turn = threading.Lock()
        self._waiting: deque[_Part[T]] = deque()

    def write(self, items: Sequence[T]) -> None:
        """Return when they are written, by whichever thread. Not within a transaction:
        the others would be answered before it commits.

        What cannot be written together, each thread writes alone, so that none fails
        for what another has brought.
        """
        part = _Part(items)
        self._waiting.append(part)
        with self._turn:
            if not part.is_taken:
                self._write_all()
        if not part.is_written:
            self._write(list(items))

    def _write_all(self) -> None:
        parts = []
        while self._waiting:
            part = self._waiting.popleft()
            part.is_taken = True
            parts.append(part)
        try:
            self._write([item for part in parts for item in part.items])
        except (DatabaseError, InterfaceError):
            if len(parts) == 1:
                raise
            return
        for part in parts:
            part.is_written = True
