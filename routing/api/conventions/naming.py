"""Names on the wire: ours in camelCase, and no unknown ones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

UNKNOWN_SHOWN = 20


def camel_case(name: str) -> str:
    """`max_retries` as `maxRetries`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def unknown_names(given: Iterable[object], known: Iterable[str]) -> dict[str, str]:
    """A problem for each unknown name, listing the allowed ones.

    At most the first `UNKNOWN_SHOWN`, since each lists all that are allowed.
    """
    allowed = set(known)
    problem = f"Unknown. Allowed: {', '.join(sorted(allowed)) or 'none'}."
    unknown = (printable(name) for name in given if name not in allowed)
    return dict.fromkeys(islice(unknown, UNKNOWN_SHOWN), problem)


def printable(text: object) -> str:
    """A client's text, shortened and valid UTF-8: JSON may contain lone surrogates."""
    return str(text)[:100].encode("utf-8", "replace").decode()
