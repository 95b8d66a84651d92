"""Providers that keep their messages in this process, for tests."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from routing.providers.base import (
    Acceptance,
    BatchRejected,
    Enquiry,
    LookUpFailed,
    MessageError,
    OutboundMessage,
    Provider,
    Receipt,
    RecipientError,
    SendFailure,
)
from routing.vocabulary import Channel, MessageStatus


class _Memory(Provider):
    """Accepts everything unless `fail_with` says otherwise. Thread-safe."""

    account_option = "ACCOUNT"
    is_real = False

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self.outbox: list[OutboundMessage] = []  # what was accepted
        self.calls: list[int] = []  # how many messages each had
        self.cannot_tell = False  # whether look-ups fail
        self._failures: deque[tuple[SendFailure, bool]] = deque()
        self._numbers = itertools.count(1)

    def fail_with(self, *failures: SendFailure, is_taken: bool = False) -> None:
        """Make the next calls raise these, one each.

        With `is_taken` they keep the message first, as if only the answer was lost.
        """
        self._failures.extend((failure, is_taken) for failure in failures)

    @property
    def batch_size(self) -> int:
        """The option MAX_BATCH; without it, each goes alone."""
        return int(self.options.get("MAX_BATCH", 1))

    def batch_key(self, message: OutboundMessage) -> Hashable | None:
        """The same for all: any two may share a call."""
        return ""

    def send(self, message: OutboundMessage) -> Acceptance:
        """Keep the message, or raise the next failure of `fail_with`."""
        return self._take([message])[0]

    def send_batch(
        self, messages: Sequence[OutboundMessage]
    ) -> list[Acceptance | SendFailure]:
        """Keep all or none; a failure of one message is taken for the first one's."""
        try:
            return [*self._take(messages)]
        except (RecipientError, MessageError) as failure:
            beside = BatchRejected(goes_alone=False)
            return [failure, *[beside] * (len(messages) - 1)]

    def _take(self, messages: Sequence[OutboundMessage]) -> list[Acceptance]:
        self.calls.append(len(messages))
        failure, is_taken = self._failures.popleft() if self._failures else (None, True)
        if is_taken:
            self.outbox.extend(messages)
        if failure is not None:
            raise failure
        return [Acceptance(f"memory-{next(self._numbers)}") for _ in messages]

    def look_up(self, enquiry: Enquiry) -> Receipt | None:
        """Find the message by its reference."""
        if self.cannot_tell:
            raise LookUpFailed("The memory fails.")
        reference = enquiry.message.reference
        found = [e for e in self.outbox if e.reference in enquiry.references]
        if not found:
            return None
        return Receipt(
            event_id=f"{reference}:accepted",
            reference=reference,
            external_message_id="",
            recipient=found[0].recipient,
            status=MessageStatus.SENT,
            provider_status="accepted",
        )

    def close(self) -> None:
        """Forget everything."""
        self.outbox.clear()
        self.calls.clear()
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
