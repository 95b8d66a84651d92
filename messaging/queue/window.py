"""The window: the messages that are with their providers at this moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from queue import Empty, SimpleQueue

from messaging.queue.placement import Claimed
from routing.dispatch import HandOver, hand_over


class Window:
    """Hands messages over in threads of its own, at most `size` at once.

    The threads call providers and nothing else: they never touch the database.
    """

    def __init__(self, *, size: int, clock: Callable[[], datetime]) -> None:
        self.size = size
        self.in_flight = 0
        self._clock = clock
        self._senders = ThreadPoolExecutor(size, thread_name_prefix="sender")
        self._done: SimpleQueue[tuple[Claimed, HandOver]] = SimpleQueue()

    @property
    def room(self) -> int:
        """How many more messages can start now."""
        return self.size - self.in_flight

    def start(self, claimed: Claimed) -> None:
        """Hand a message over, in a thread."""
        self.in_flight += 1
        self._senders.submit(self._send, claimed)

    def finished(self, *, wait: float, at_most: int) -> list[tuple[Claimed, HandOver]]:
        """What has come back; waits up to `wait` seconds for the first one."""
        done: list[tuple[Claimed, HandOver]] = []
        try:
            done.append(self._done.get(timeout=wait))
            while len(done) < at_most:
                done.append(self._done.get_nowait())
        except Empty:
            pass
        self.in_flight -= len(done)
        return done

    def close(self) -> None:
        """End the threads, which are idle by now."""
        self._senders.shutdown()

    def _send(self, claimed: Claimed) -> None:
        result = hand_over(
            provider_name=claimed.decision.provider,
            message=claimed.content,
            segments=claimed.parcel.segments,
            estimate=claimed.decision.estimate,
            clock=self._clock,
        )
        self._done.put((claimed, result))
