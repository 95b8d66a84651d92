"""A stopwatch for loops, on the monotonic clock."""

from __future__ import annotations

import time
from datetime import timedelta


class Timer:
    """Says whether an interval has passed since it was last restarted."""

    def __init__(self, interval: timedelta, *, is_over: bool = False) -> None:
        self._seconds = interval.total_seconds()
        self._ends_at = 0.0
        if not is_over:
            self.restart()

    def restart(self) -> None:
        """Count the interval from now."""
        self._ends_at = time.monotonic() + self._seconds

    def is_over(self) -> bool:
        """Whether the interval has passed."""
        return time.monotonic() >= self._ends_at

    def comes_round(self) -> bool:
        """Whether the interval has passed; if so, it starts again."""
        if not self.is_over():
            return False
        self.restart()
        return True
