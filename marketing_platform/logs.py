"""Keeps recipients and keys out of the logs.

Also limits the length of a record and keeps it from looking like several: it is cut,
and control characters are written as escapes. To see a whole address, look up the
message by its id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote

from django.conf import settings

from marketing_platform.masking import mask
from routing.providers.options import is_secret
from routing.text.untrusted import escaped

MESSAGE_LIMIT = 8_000  # characters of a record's message
TRACE_LIMIT = 32_000
# Masked beyond the cut, then discarded, so that no half of a key is left.
_MARGIN = 1_000
# Shorter ones would match within other words.
_SHORTEST_SECRET = 6


def known_secrets() -> Iterator[str]:
    """The secret values of settings and providers."""
    for value in (*_own_secrets(), *_provider_secrets()):
        if len(value) >= _SHORTEST_SECRET:
            yield value
            if (in_url := quote(value, safe="")) != value:
                yield in_url


class Masking(logging.Filter):
    """Masks a record for all handlers: message, arguments, traceback, stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by the handler before it formats the record; passes all records."""
        secrets = tuple(known_secrets())
        message = _bounded(_message(record), secrets, MESSAGE_LIMIT)
        record.msg, record.args = escaped(message), None
        if record.exc_info and record.exc_info[0]:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = _traced(record.exc_text, secrets)
        if record.stack_info:
            record.stack_info = _traced(record.stack_info, secrets)
        return True


def _traced(text: str, secrets: tuple[str, ...]) -> str:
    """Several lines, indented so that none looks like a record."""
    masked = _bounded(text, secrets, TRACE_LIMIT)
    return escaped(masked, keep_lines=True).replace("\n", "\n  ")


def _bounded(text: str, secrets: tuple[str, ...], limit: int) -> str:
    if len(text) <= limit:
        return mask(text, secrets=secrets)
    margin = max(_MARGIN, *map(len, secrets))
    masked = mask(text[: limit + margin], secrets=secrets)[:-margin]
    return f"{masked}... ({len(text):,} characters)"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not match the text
        return f"{record.msg} {record.args!r}"


def _own_secrets() -> Iterator[str]:
    yield settings.SECRET_KEY
    yield from settings.SECRET_KEY_FALLBACKS
    yield from (str(each.get("PASSWORD", "")) for each in settings.DATABASES.values())


def _provider_secrets() -> Iterator[str]:
    for definition in settings.MESSAGE_PROVIDERS.values():
        for name, value in definition.get("OPTIONS", {}).items():
            if is_secret(name):
                yield str(value)
