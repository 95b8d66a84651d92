"""The names on the wire: camelCase of ours, and nothing that a client made up."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

UNKNOWN_SHOWN = 20


def camel_case(name: str) -> str:
    """`max_retries` as `maxRetries`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def unknown_names(given: Iterable[object], known: Iterable[str]) -> dict[str, str]:
    """A problem for each name that is not known, listing those that are.

    Of very many, the first ones: each repeats what is allowed.
    """
    allowed = set(known)
    problem = f"Unknown. Allowed: {', '.join(sorted(allowed)) or 'none'}."
    unknown = (printable(name) for name in given if name not in allowed)
    return dict.fromkeys(islice(unknown, UNKNOWN_SHOWN), problem)


def printable(text: object) -> str:
    """What a client sent, short and fit for UTF-8: JSON may hold lone surrogates."""
    return str(text)[:100].encode("utf-8", "replace").decode()
