"""Providers that keep what they are given: for tests, in this process only."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from typing import Any

from routing.providers.base import Acceptance, OutboundMessage, Provider, SendFailure
from routing.vocabulary import Channel


class _Memory(Provider):
    """Accepts everything, unless told to fail. Safe to use from many threads."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self.outbox: list[OutboundMessage] = []  # what was accepted
        self._failures: deque[SendFailure] = deque()
        self._numbers = itertools.count(1)

    def fail_with(self, *failures: SendFailure) -> None:
        """The next calls raise these, one each; the call after them is accepted."""
        self._failures.extend(failures)

    def send(self, message: OutboundMessage) -> Acceptance:
        """Keep the message, or raise what `fail_with` was given."""
        try:
            failure = self._failures.popleft()
        except IndexError:
            self.outbox.append(message)
            return Acceptance(external_message_id=f"memory-{next(self._numbers)}")
        raise failure

    def close(self) -> None:
        """Forget everything."""
        self.outbox.clear()
        self._failures.clear()


class MemorySMS(_Memory):
    """SMS, kept in memory."""

    channel = Channel.SMS


class MemoryMMS(_Memory):
    """MMS, kept in memory."""

    channel = Channel.MMS


class MemoryEmail(_Memory):
    """E-mail, kept in memory."""

    channel = Channel.EMAIL
