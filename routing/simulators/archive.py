"""The messages that the simulated vendors accepted, for look-ups. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from routing.simulators.handset import Arrival, SimulatedMessage

CAPACITY = 50_000


@dataclass(slots=True)
class Remembered:
    """A message, when it was accepted, and what became of it; None: not known yet."""

    message: SimulatedMessage
    taken_at: datetime
    arrival: Arrival | None = None


class Archive:
    """The newest messages of all vendors, in order of arrival."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[str, str], Remembered] = OrderedDict()

    def add(self, message: SimulatedMessage, now: datetime) -> None:
        """Remember a message; when full, forget the oldest."""
        if len(self._kept) >= self._capacity:
            self._kept.popitem(last=False)
        self._kept[_key(message)] = Remembered(message, now)

    def finish(self, message: SimulatedMessage, arrival: Arrival) -> None:
        """Note the result, if the message is still known."""
        if kept := self._kept.get(_key(message)):
            kept.arrival = arrival

    def of(self, provider: str, *, until: datetime) -> Iterator[Remembered]:
        """What a provider accepted before this time."""
        for kept in self._kept.values():
            if kept.message.provider == provider and kept.taken_at < until:
                yield kept

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()


def _key(message: SimulatedMessage) -> tuple[str, str]:
    return message.external_message_id, message.recipient
