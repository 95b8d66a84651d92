"""What several threads write at the same time goes in one write, but fails alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError

from routing.receipts.together import Together

THREADS = 8


class Table:
    """Takes what is written, one write at a time; `refused` fails the whole write."""

    def __init__(self, *, refused=None):
        self.writes = []
        self.refused = refused
        self.gate = threading.Event()

    def write(self, items):
        self.gate.wait(10)
        self.writes.append(items)
        if self.refused in items:
            raise DatabaseError(f"{self.refused} cannot be written")

    @property
    def rows(self):
        return sorted(each for write in self.writes for each in write)


def written_by_threads(table, items):
    """Write each item in its own thread, all at once; return what each one raised."""
    together = Together(table.write)
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(together.write, [item]) for item in items]
        while len(together._waiting) < len(items) - 1:
            time.sleep(0.001)
        table.gate.set()
        return [future.exception() for future in futures]


def test_what_comes_during_a_write_is_written_by_the_next_one():
    table = Table()

    assert written_by_threads(table, range(THREADS)) == [None] * THREADS

    assert table.rows == list(range(THREADS))
    assert [len(write) for write in table.writes] == [1, THREADS - 1]


@pytest.mark.parametrize("refused", [0, 5])
def test_only_the_one_fails_that_brought_what_cannot_be_written(refused):
    table = Table(refused=refused)

    failures = written_by_threads(table, range(THREADS))

    failed = [item for item, error in enumerate(failures) if error]
    assert failed == [refused]
    assert isinstance(failures[refused], DatabaseError)


def test_a_single_one_is_written_once_at_once_and_fails_at_once():
    table = Table(refused="b")
    table.gate.set()
    together = Together(table.write)

    together.write(["a"])
    with pytest.raises(DatabaseError):
        together.write(["b"])

    assert table.writes == [["a"], ["b"]]
