"""What no log may tell: whom we write to, and the keys that we do it with.

Nor may a record be without bound, or look like several: it is cut, and what a terminal
would act on is written as an escape. Whoever needs a whole address looks the message up
by its id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote

from django.conf import settings

from marketing_platform.masking import mask
from routing.providers.options import is_secret
from routing.text.safe_text import escaped

MESSAGE_LIMIT = 8_000  # characters of a record's message
TRACE_LIMIT = 32_000
# What is masked beyond a cut and thrown away, so that the cut leaves no half of a key.
_MARGIN = 1_000
# A shorter one would be found in the middle of other words.
_SHORTEST_SECRET = 6


def known_secrets() -> Iterator[str]:
    """The values that settings and providers keep secret."""
    for value in (*_own_secrets(), *_provider_secrets()):
        if len(value) >= _SHORTEST_SECRET:
            yield value
            if (in_url := quote(value, safe="")) != value:
                yield in_url


class Masking(logging.Filter):
    """Masks a record for all who handle it: message, arguments, traceback, stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by the handler before it formats the record; lets all pass."""
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
    """Many lines, of which none begins as a record does."""
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
    except (TypeError, ValueError, KeyError):  # arguments that do not fit the text
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
