"""Providers that print their messages, for development without a network."""

from __future__ import annotations

import sys
import threading
from uuid import uuid4

from routing.providers.base import Acceptance, OutboundMessage, Provider
from routing.text.untrusted import escaped
from routing.vocabulary import Channel

_RULE = "-" * 72
_lock = threading.Lock()


class _Console(Provider):
    """Accepts everything and prints it to standard output."""

    is_real = False

    def send(self, message: OutboundMessage) -> Acceptance:
        """Print the message in one piece, even if many threads print at once."""
        with _lock:
            sys.stdout.write(self._text(message))
            sys.stdout.flush()
        return Acceptance(external_message_id=f"console-{uuid4()}")

    def _text(self, message: OutboundMessage) -> str:
        lines = [
            f"{self.channel.label} {message.reference} to {message.recipient}",
            *([f"Subject: {message.subject}"] if message.subject else []),
            *(f"Media: {url}" for url in message.media_urls),
            "",
            message.body,
            _RULE,
        ]
        return escaped("\n".join(lines), keep_lines=True) + "\n"


class ConsoleSMS(_Console):
    """SMS, printed."""

    channel = Channel.SMS


class ConsoleMMS(_Console):
    """MMS, printed."""

    channel = Channel.MMS


class ConsoleEmail(_Console):
    """E-mail, printed."""

    channel = Channel.EMAIL
