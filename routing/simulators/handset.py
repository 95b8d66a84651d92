"""The handset log: what providers accepted, and what reached a recipient.

JSON lines, each appended with one write, so that the line is there before the answer is
sent, and survives a kill. The engine's own records are checked against it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any, Literal

HandsetEvent = Literal["accepted", "handset"]


class Arrival(Enum):
    """What becomes of an accepted message."""

    DELIVERED = "delivered"
    OFF = "the handset is off"
    LOST = "there is no such handset"


@dataclass(frozen=True, slots=True)
class SimulatedMessage:
    """A message that a simulated provider accepted."""

    provider: str
    external_message_id: str
    reference: str  # the sender's own, "" if it gave none
    recipient: str  # with its "+", even if the protocol has none
    body: str
    subject: str = ""
    media_urls: tuple[str, ...] = ()
    segments: int = 1
    unsubscribe_url: str = ""  # of an e-mail with a one-click unsubscribe button


@dataclass(frozen=True, slots=True)
class HandsetEntry:
    """One line of the log: "accepted" by the provider, or on the "handset"."""

    event: HandsetEvent
    at: datetime
    message: SimulatedMessage


def one_click_url(headers: Mapping[str, Any] | EmailMessage) -> str:
    """Where a mail program posts to unsubscribe; "" if it shows no button."""
    if headers.get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click":
        return ""
    return str(headers.get("List-Unsubscribe", "")).strip().strip("<>")


class Handsets:
    """Which handsets are off: some, for a time from the first message to them on."""

    def __init__(self, *, random: Random, clock: Callable[[], float]) -> None:
        self._random = random
        self._clock = clock
        self._on_from: dict[str, float] = {}

    def is_off(self, recipient: str, *, share: float, seconds: float) -> bool:
        """Whether it is off now; `share` of all are, for `seconds`. Mailboxes never."""
        if not share or not recipient.startswith("+"):
            return False
        if recipient not in self._on_from:
            is_off = self._random.random() < share
            self._on_from[recipient] = self._clock() + (seconds if is_off else 0)
        return self._clock() < self._on_from[recipient]

    def clear(self) -> None:
        """All are on."""
        self._on_from.clear()


class HandsetLog:
    """Appends to the log; without a path it does nothing."""

    def __init__(self, path: Path | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = None if path is None else os.open(path, flags, 0o644)

    def write(self, event: HandsetEvent, message: SimulatedMessage) -> None:
        """Append one line, unbuffered."""
        if self._file is None:
            return
        line = {
            "event": event,
            "at": datetime.now(UTC).isoformat(),
            "provider": message.provider,
            "external_message_id": message.external_message_id,
            "reference": message.reference,
            "recipient": message.recipient,
            "subject": message.subject,
            "body": message.body,
            "media_urls": message.media_urls,
            "segments": message.segments,
            "unsubscribe_url": message.unsubscribe_url,
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def truncate(self) -> None:
        """Start from an empty log."""
        if self._file is not None:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_handset_log(path: Path) -> Iterator[HandsetEntry]:
    """The entries of a log, oldest first; a line still being written is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield _read_entry(line)


def _read_entry(line: str) -> HandsetEntry:
    values = json.loads(line)
    event, at = values.pop("event"), values.pop("at")
    values["media_urls"] = tuple(values["media_urls"])
    message = SimulatedMessage(**values)
    return HandsetEntry(event, datetime.fromisoformat(at), message)
