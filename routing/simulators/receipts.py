"""Sends receipts as providers do: later, signed, again on failure, or twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

import aiohttp

CONCURRENCY = 32
# Seconds before each retry. Real providers try for hours; a demo has minutes.
RETRY_DELAYS = (0.2, 0.5, 1.0)
_TIMEOUT = aiohttp.ClientTimeout(total=15)


@dataclass(frozen=True, slots=True)
class ReceiptCall:
    """One webhook call, signed and ready to send."""

    url: str
    headers: dict[str, str]
    body: bytes


class ReceiptSender:
    """Posts webhook calls in the background, a bounded number at a time."""

    def __init__(self, *, random: Random, duplicate_share: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._random = random
        self._duplicate_share = duplicate_share
        self._tasks: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(CONCURRENCY)
        self._session: aiohttp.ClientSession | None = None

    @property
    def pending(self) -> int:
        """How many messages have pending receipts."""
        return len(self._tasks)

    def send(self, calls: Iterable[ReceiptCall]) -> None:
        """Post the receipts of one message, one after the other."""
        task = asyncio.get_running_loop().create_task(self._post_all(list(calls)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self) -> None:
        """Drop pending receipts, and the counts."""
        for task in self._tasks:
            task.cancel()
        self.counts.clear()

    async def close(self) -> None:
        """Drop pending receipts, and close the connections."""
        self.forget()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post_all(self, calls: list[ReceiptCall]) -> None:
        for call in calls:
            await self._post(call)
            if self._random.random() < self._duplicate_share():
                self.counts["duplicated"] += 1
                await self._post(call)

    async def _post(self, call: ReceiptCall) -> None:
        """Try until the receiver accepts or refuses it; finally give up silently."""
        for delay in (*RETRY_DELAYS, None):
            async with self._gate:
                answer = await self.ask(call)
            status = answer[0] if answer else None
            if status is not None and status < 500:
                self.counts["delivered" if status < 400 else "refused"] += 1
                return
            if delay is not None:
                self.counts["retried"] += 1
                await asyncio.sleep(delay)
        self.counts["given_up"] += 1

    async def ask(self, call: ReceiptCall) -> tuple[int, str] | None:
        """Post one call now; the receiver's status and text, None without an answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        try:
            async with self._session.post(
                call.url, data=call.body, headers=call.headers, allow_redirects=False
            ) as response:
                return response.status, await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None  # ValueError: the sender's callback is not a URL
