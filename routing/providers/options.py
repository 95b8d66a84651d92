"""How a provider's class declares its options and its row in the documents."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|KEY")


@dataclass(frozen=True, slots=True)
class Option:
    """One entry of OPTIONS in MESSAGE_PROVIDERS.

    `variable` is the environment variable that sets it; without one it is set in
    MESSAGE_PROVIDERS itself. The type of `default` is how the variable is read: a text,
    a whole number, a number, or 1 and 0.
    """

    name: str
    variable: str = ""
    default: str | int | float | bool = ""
    is_required: bool = False  # without a value the provider is not configured
    help: str = ""  # one line, for docs/providers.md and .env.example


def is_secret(name: str) -> bool:
    """Whether logs mask the value of this option: by SECRET, TOKEN, PASSWORD or KEY."""
    return bool(_SECRET.search(name))


@dataclass(frozen=True, slots=True)
class DocsRow:
    """A provider's cells in the table of docs/providers.md, in Markdown."""

    receipts: str = "none"  # how they come, and how they are signed
    reference: str = "—"  # where our reference travels
