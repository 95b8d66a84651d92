"""Whether the recipient that a provider names is the one that a message went to.

Providers spell recipients in their own ways: numbers without "+", or as their network
dials them; domains of other alphabets in ASCII.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from routing.email_addresses import is_same_mailbox

# How networks dial mobiles where it is not how their numbers are written.
_MOBILE_PREFIXES = {"521": "52", "549": "54"}  # Mexico until 2019, Argentina
_NO_DIGITS = re.compile(r"[^0-9]")
_MOBILE_DIGITS = {"521": 13, "549": 13}  # in all, with the prefix


def is_same_recipient(told: str, sent_to: str) -> bool:
    """Whether both name one recipient: two numbers, or two e-mail addresses."""
    if "@" in told or "@" in sent_to:
        return is_same_mailbox(told, sent_to)
    digits = _number(told)
    return bool(digits) and digits == _number(sent_to)


def _number(text: str) -> str:
    digits = _NO_DIGITS.sub("", normalize("NFKC", text)).removeprefix("00")
    prefix = digits[:3]
    if len(digits) == _MOBILE_DIGITS.get(prefix):
        return _MOBILE_PREFIXES[prefix] + digits[3:]
    return digits
