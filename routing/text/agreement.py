"""Whether the recipient in a receipt is the one that a message was sent to.

Providers spell recipients in their own ways: numbers without "+", or as their network
dials them; domains of other alphabets in ASCII.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from routing.text.email_addresses import is_same_mailbox
from routing.text.handsets import handset_of

_NO_DIGITS = re.compile(r"[^0-9]")


def is_same_recipient(reported: str, sent_to: str) -> bool:
    """Whether both are the same recipient: the same handset, or the same mailbox."""
    if "@" in reported or "@" in sent_to:
        return is_same_mailbox(reported, sent_to)
    number = _number(reported)
    return number != "+" and handset_of(number) == handset_of(_number(sent_to))


def _number(text: str) -> str:
    digits = _NO_DIGITS.sub("", normalize("NFKC", text))
    return f"+{digits.removeprefix('00')}"
