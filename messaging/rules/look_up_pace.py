"""How many look-ups a worker makes at once at one provider. Pure.

More while its answers come, fewer when it fails or asks us to slow down, and one at a
time while it is out of use.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST, MOST = 8, 64
PAUSE = timedelta(seconds=5)  # after a refusal that does not say how long to wait
LONGEST_PAUSE = timedelta(minutes=15)  # a wrong Retry-After must not end look-ups


@dataclass(slots=True)
class Pace:
    """What a worker has learnt from a provider's answers."""

    at_once: int = FIRST
    waits_until: datetime | None = None

    def note_answer(self) -> None:
        """One more at once: twice as many after each round of answers."""
        self.at_once = min(self.at_once + 1, MOST)

    def note_refusal(self, retry_after: timedelta | None, *, now: datetime) -> None:
        """Half as many, after a wait. All that were under way may be refused together:
        that is one refusal.
        """
        if self.waits_until is None or now >= self.waits_until:
            self.at_once = max(1, self.at_once // 2)
        until = now + min(retry_after or PAUSE, LONGEST_PAUSE)
        self.waits_until = max(until, self.waits_until or until)

    def room(self, under_way: int, *, is_in_use: bool, now: datetime) -> int:
        """How many more may begin."""
        if self.waits_until is not None and now < self.waits_until:
            return 0
        return max(0, (self.at_once if is_in_use else 1) - under_way)
