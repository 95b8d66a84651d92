"""The window: the messages that are with their providers at this moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Thread

from messaging.queue.placement import Claimed
from routing.dispatch import HandOver, Load, given_up, hand_over

logger = logging.getLogger(__name__)

Done = tuple[Claimed, HandOver]
NO_THREAD = (
    "The host grants no thread to call providers in: look at its limits of processes "
    "and memory (ulimit -u, the container's pids)."
)


class Window:
    """Hands messages over in threads of its own, at most `size` at once.

    The threads call providers and nothing else: they never touch the database. A call
    that has not ended after `patience`, whatever its adapter promised, is given up, so
    that it holds up neither the window nor a worker that wants to leave. Its thread
    stays behind, and should it come back, so does its result.
    """

    def __init__(
        self, *, size: int, clock: Callable[[], datetime], patience: timedelta
    ) -> None:
        self.size = size
        self._clock = clock
        self._patience = patience
        self._under_way: dict[str, tuple[Claimed, datetime, float]] = {}
        self._left_behind = 0
        self._threads = 0
        self._work: SimpleQueue[Claimed | None] = SimpleQueue()
        self._done: SimpleQueue[Done] = SimpleQueue()

    @property
    def in_flight(self) -> int:
        """How many messages are with their providers."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """How many more messages can start now."""
        return self.size - self.in_flight

    def start(self, claimed: Claimed) -> None:
        """Hand a message over, in a thread: its own, or the next that is free."""
        give_up_at = time.monotonic() + self._patience.total_seconds()
        self._under_way[_key(claimed)] = claimed, self._clock(), give_up_at
        self._work.put(claimed)
        if self._threads < self.in_flight + self._left_behind:
            self._add_thread()

    def finished(self, *, wait: float, at_most: int) -> list[Done]:
        """What has come back; waits up to `wait` seconds for the first one."""
        done: list[Done] = []
        try:
            done.append(self._done.get(timeout=wait))
            while len(done) < at_most:
                done.append(self._done.get_nowait())
        except Empty:
            pass
        for claimed, _ in done:
            if self._under_way.pop(_key(claimed), None) is None:
                self._left_behind -= 1  # given up before, and back after all
        return done + self._overdue()

    def close(self) -> None:
        """End the threads, which are idle by now, but for those left behind."""
        for _ in range(self._threads):
            self._work.put(None)

    def _add_thread(self) -> None:
        """Where the host grants no more threads, the window is as wide as there are."""
        try:
            Thread(target=self._send_all, name="sender", daemon=True).start()
        except RuntimeError as error:
            left = self._threads - self._left_behind
            if left < 1:
                raise RuntimeError(NO_THREAD) from error
            if left < self.size:
                logger.warning("The host grants no more than %d sender threads.", left)
                self.size = left
        else:
            self._threads += 1

    def _overdue(self) -> list[Done]:
        """Those whose adapter hangs. The one that waits longest comes first."""
        now, overdue = time.monotonic(), []
        for key, (claimed, started_at, give_up_at) in list(self._under_way.items()):
            if give_up_at > now:
                break
            del self._under_way[key]
            self._left_behind += 1
            lost = given_up(
                provider_name=claimed.decision.provider,
                attempted_at=started_at,
                after=self._patience,
            )
            overdue.append((claimed, lost))
        return overdue

    def _send_all(self) -> None:
        while claimed := self._work.get():
            self._done.put((claimed, self._send(claimed)))

    def _send(self, claimed: Claimed) -> HandOver:
        load = Load(claimed.content, claimed.parcel.segments, claimed.decision.estimate)
        [done] = hand_over(
            provider_name=claimed.decision.provider,
            loads=[load],
            not_after=claimed.lease_expires_at,
            clock=self._clock,
        )
        return done


def _key(claimed: Claimed) -> str:
    """Message and attempt number."""
    return claimed.content.reference
