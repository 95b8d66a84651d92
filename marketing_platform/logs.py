"""What no log may tell: whom we write to, and the keys that we do it with.

Numbers keep their first two and last three digits (`+44******123`) and e-mail addresses
their domain, so that operators can still tell one case from another; whoever needs the
whole address looks the message up by its id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from django.conf import settings

_AUTHORIZATION = re.compile(r"\b(Bearer|Basic)(?:\s+|%20)[^\s\"',;]+", re.IGNORECASE)
_API_TOKEN = re.compile(r"\bmp_live_[\w-]+")
# Also as it stands in a URL.
_EMAIL = re.compile(r"([^\s<>\"(),:;\\\[\]@]+)(?:@|%40)([\w.-]+)", re.IGNORECASE)
_NOT_OF_LOCAL_PART = re.compile(r".*[=&?/'](?=.)", re.DOTALL)
# With a plus, plain or written in groups; without one, as Vonage has them, from 11
# digits on: fewer may be a second since 1970 or an id.
_NUMBERS = (
    re.compile(r"(?:\+|%2B)(\d{7,15})(?!\d)", re.IGNORECASE),
    re.compile(r"\+(\d{1,3}(?:[ .()/-]{1,2}\d{2,10}){1,5})(?!\d)"),
    re.compile(r"(?<![\w.:+*-])(0{1,2}[1-9]\d{7,13}|[1-9]\d{10,14})(?!\w|[.:-]\w)"),
)
_SHORTEST_NUMBER = 7
_SECRET_OPTIONS = re.compile(r"SECRET|TOKEN|PASSWORD|API_KEY")
# A shorter one would be found in the middle of other words.
_SHORTEST_SECRET = 6


def mask(text: str, *, secrets: Iterable[str] = ()) -> str:
    """The text without addresses, credentials and the given secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _AUTHORIZATION.sub(r"\1 ***", text)
    text = _API_TOKEN.sub("***", text)
    text = _EMAIL.sub(_masked_email, text)
    for pattern in _NUMBERS:
        text = pattern.sub(_masked_number, text)
    return text


def known_secrets() -> Iterator[str]:
    """The values that settings and providers keep secret."""
    for value in (*_own_secrets(), *_provider_secrets()):
        if len(value) >= _SHORTEST_SECRET:
            yield value


class Masking(logging.Filter):
    """Masks a record for all who handle it: message, arguments, traceback, stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by the handler before it formats the record; lets all pass."""
        secrets = sorted(known_secrets(), key=len, reverse=True)
        record.msg, record.args = mask(_message(record), secrets=secrets), None
        if record.exc_info and record.exc_info[0]:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = mask(record.exc_text, secrets=secrets)
        if record.stack_info:
            record.stack_info = mask(record.stack_info, secrets=secrets)
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not fit the text
        return f"{record.msg} {record.args!r}"


def _masked_email(match: re.Match[str]) -> str:
    before = _NOT_OF_LOCAL_PART.match(match[1])
    return f"{before[0] if before else ''}***@{match[2]}"


def _masked_number(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[1])
    if len(digits) < _SHORTEST_NUMBER:
        return match[0]
    return f"+{digits[:2]}{'*' * (len(digits) - 5)}{digits[-3:]}"


def _own_secrets() -> Iterator[str]:
    yield settings.SECRET_KEY
    yield from settings.SECRET_KEY_FALLBACKS
    yield from (str(each.get("PASSWORD", "")) for each in settings.DATABASES.values())
    yield urlsplit(str(settings.Q_CLUSTER.get("redis", ""))).password or ""


def _provider_secrets() -> Iterator[str]:
    for definition in settings.MESSAGE_PROVIDERS.values():
        for name, value in definition.get("OPTIONS", {}).items():
            if _SECRET_OPTIONS.search(name):
                yield str(value)
