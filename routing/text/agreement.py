"""Whether the recipient that a provider names is the one that a message went to.

Providers spell recipients in their own ways: numbers without "+", or as their network
dials them; domains of other alphabets in ASCII.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from routing.text.email_addresses import is_same_mailbox
from routing.text.handsets import handset_of

_NO_DIGITS = re.compile(r"[^0-9]")


def is_same_recipient(told: str, sent_to: str) -> bool:
    """Whether both name one recipient: two numbers of a handset, or two addresses."""
    if "@" in told or "@" in sent_to:
        return is_same_mailbox(told, sent_to)
    number = _number(told)
    return number != "+" and handset_of(number) == handset_of(_number(sent_to))


def _number(text: str) -> str:
    digits = _NO_DIGITS.sub("", normalize("NFKC", text))
    return f"+{digits.removeprefix('00')}"
