"""Providers that keep what they are given: for tests, in this process only."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from typing import Any

from routing.providers.base import (
    Acceptance,
    Enquiry,
    LookUpFailed,
    OutboundMessage,
    Provider,
    Receipt,
    SendFailure,
)
from routing.vocabulary import Channel, MessageStatus


class _Memory(Provider):
    """Accepts everything, unless told to fail. Safe to use from many threads."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self.outbox: list[OutboundMessage] = []  # what was accepted
        self.cannot_tell = False  # whether look-ups fail
        self._failures: deque[tuple[SendFailure, bool]] = deque()
        self._numbers = itertools.count(1)

    def fail_with(self, *failures: SendFailure, is_taken: bool = False) -> None:
        """The next calls raise these, one each; the call after them is accepted.

        With `is_taken` they take the message all the same: the answer is lost.
        """
        self._failures.extend((failure, is_taken) for failure in failures)

    def send(self, message: OutboundMessage) -> Acceptance:
        """Keep the message, or raise what `fail_with` was given."""
        try:
            failure, is_taken = self._failures.popleft()
        except IndexError:
            self.outbox.append(message)
            return Acceptance(external_message_id=f"memory-{next(self._numbers)}")
        if is_taken:
            self.outbox.append(message)
        raise failure

    def look_up(self, enquiry: Enquiry) -> Receipt | None:
        """Whether the message was taken, by its reference."""
        if self.cannot_tell:
            raise LookUpFailed("The memory fails.")
        reference = enquiry.message.reference
        if not any(each.reference == reference for each in self.outbox):
            return None
        return Receipt(
            event_id=f"{reference}:accepted",
            reference=reference,
            external_message_id="",
            status=MessageStatus.SENT,
            provider_status="accepted",
        )

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
