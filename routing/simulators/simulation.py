"""Shared by all vendors: options, faults, delivery to the handset, receipts, counts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random
from typing import Any

from routing.simulators.archive import Archive, Remembered
from routing.simulators.faults import FaultBoard
from routing.simulators.handset import Arrival, HandsetLog, Handsets, SimulatedMessage
from routing.simulators.receipts import ReceiptCall, ReceiptSender

# Called when a message was delivered, or not.
OnArrival = Callable[[Arrival], None]


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """How the simulated providers behave without faults."""

    public_url: str = "http://127.0.0.1:8000"  # where SendGrid posts its events
    receipt_delay: float = 1.0  # seconds from acceptance to the handset
    undelivered_share: float = 0.0  # lost for good
    off_share: float = 0.0  # handsets that are off when the first message comes
    off_seconds: float = 5.0  # and for how long
    duplicate_receipt_share: float = 0.0
    latency: float = 0.0  # seconds a provider takes to answer
    receipts: bool = True
    look_up_lag: float = 0.0  # seconds until a look-up shows an accepted message
    look_up_status: int = 0  # answer look-ups with this HTTP status; 0: normally
    seed: int | None = None

    def check(self) -> None:
        """Raise TypeError for a value that would only fail later, in a timer."""
        for name in ("receipt_delay", "latency", "look_up_lag", "off_seconds"):
            if not _is_number(getattr(self, name)):
                raise TypeError(f"{name} must be a number of seconds, from 0 up.")
        for name in ("undelivered_share", "off_share", "duplicate_receipt_share"):
            if not _is_number(getattr(self, name), limit=1):
                raise TypeError(f"{name} must be a number from 0 to 1.")


def _is_number(value: object, *, limit: float = inf) -> bool:
    return isinstance(value, int | float) and 0 <= value <= limit


class Simulation:
    """The state shared by all vendors. Runs in one event loop."""

    def __init__(self, options: SimulationOptions, handset_log: HandsetLog) -> None:
        self.options = self._initial_options = options
        self.handset_log = handset_log
        self.random = Random(options.seed)  # noqa: S311 (chance, not secrecy)
        self.faults = FaultBoard(random=self.random, clock=time.monotonic)
        self.receipts = ReceiptSender(
            random=self.random,
            duplicate_share=lambda: self.options.duplicate_receipt_share,
        )
        self.handsets = Handsets(random=self.random, clock=time.monotonic)
        self.archive = Archive()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._on_their_way: set[asyncio.TimerHandle] = set()

    def count(self, provider: str, event: str) -> None:
        """Count an event for /state."""
        self._counts[provider][event] += 1

    def accept(
        self,
        message: SimulatedMessage,
        *,
        on_arrival: OnArrival | None = None,
        is_reachable: bool = True,
    ) -> None:
        """Accept a message: log it, draw its fate, and deliver it after the delay.

        Without `on_arrival`, or without receipts, it is delivered at once.
        """
        self.count(message.provider, "accepted")
        self.handset_log.write("accepted", message)
        self.archive.add(message, datetime.now(UTC))
        arrival = self._arrival_of(message) if is_reachable else Arrival.LOST
        if on_arrival is None or not self.options.receipts:
            self._arrive(message, on_arrival, arrival)
        else:
            self._later(lambda: self._arrive(message, on_arrival, arrival))

    def send_receipts(self, calls: Iterable[ReceiptCall]) -> None:
        """Post the receipts of one message, unless receipts are switched off."""
        if self.options.receipts:
            self.receipts.send(calls)

    def shown(self, provider: str) -> Iterator[Remembered]:
        """The messages of a provider that its look-ups already show."""
        lag = timedelta(seconds=self.options.look_up_lag)
        return self.archive.of(provider, until=datetime.now(UTC) - lag)

    def change_options(self, changes: dict[str, Any]) -> None:
        """Change some options; raises TypeError for an unknown or invalid one."""
        options = replace(self.options, **changes)
        options.check()
        self.options = options
        if "seed" in changes:
            self.random.seed(self.options.seed)

    def reset(self) -> None:
        """Back to the initial state; the handset log stays."""
        self.options = self._initial_options
        self.random.seed(self.options.seed)
        self.faults.clear()
        self.receipts.forget()
        self._counts.clear()
        self.archive.clear()
        self.handsets.clear()
        for timer in self._on_their_way:
            timer.cancel()
        self._on_their_way.clear()

    def state(self) -> dict[str, Any]:
        """Counts, faults and options, as /state shows them."""
        return {
            "providers": {name: dict(counts) for name, counts in self._counts.items()},
            "faults": self.faults.describe(),
            "receipts": {
                "pending": self.receipts.pending + len(self._on_their_way),
                **self.receipts.counts,
            },
            "options": asdict(self.options),
        }

    async def close(self) -> None:
        """Remove everything from the event loop."""
        self.reset()
        await self.receipts.close()

    def _arrival_of(self, message: SimulatedMessage) -> Arrival:
        options = self.options
        if self.random.random() < options.undelivered_share:
            return Arrival.LOST
        is_off = self.handsets.is_off(
            message.recipient, share=options.off_share, seconds=options.off_seconds
        )
        return Arrival.OFF if is_off else Arrival.DELIVERED

    def _later(self, arrive: Callable[[], None]) -> None:
        def run() -> None:
            self._on_their_way.discard(timer)
            arrive()

        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.options.receipt_delay, run)
        self._on_their_way.add(timer)

    def _arrive(
        self,
        message: SimulatedMessage,
        on_arrival: OnArrival | None,
        arrival: Arrival,
    ) -> None:
        is_delivered = arrival is Arrival.DELIVERED
        self.count(message.provider, "handset" if is_delivered else "undelivered")
        self.archive.finish(message, arrival)
        if is_delivered:
            self.handset_log.write("handset", message)
        if on_arrival is not None:
            on_arrival(arrival)
