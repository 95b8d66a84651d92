"""How many parts an SMS text is sent in.

A text in the GSM 7-bit default alphabet (3GPP TS 23.038 §6.2.1) has 160 septets in one
part, or 153 in each of several; characters of its extension table take two septets and
are never split. Any other text is UCS-2: 70 UTF-16 units in one part, or 67 in each of
several, and a surrogate pair is never split. Several parts are shorter because of the
header that joins them (TS 23.040 §9.2.3.24).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

GSM7_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM7_EXTENSION = frozenset("\f^{}\\[~]|€")
# Regular expressions, several times as fast as a loop in Python.
_EXTENSION = re.compile(f"[{re.escape(''.join(GSM7_EXTENSION))}]")
_GSM7 = re.compile(f"[{re.escape(''.join(GSM7_BASIC | GSM7_EXTENSION))}]*")


def is_gsm7(text: str) -> bool:
    """Whether the text has only characters of the GSM 7-bit alphabet."""
    return _GSM7.fullmatch(text) is not None


def split_segments(text: str) -> list[str]:
    """The parts that the text is sent in; an empty text is one empty part."""
    if is_gsm7(text):
        return _split(text, _septets, single=160, each=153)
    return _split(text, _utf16_units, single=70, each=67)


def count_segments(text: str) -> int:
    """The number of parts that `text` is sent and billed in."""
    return len(split_segments(text))


def _septets(text: str) -> int:
    return len(text) + len(_EXTENSION.findall(text))


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _split(
    text: str, width: Callable[[str], int], *, single: int, each: int
) -> list[str]:
    return [text] if width(text) <= single else list(_fill(text, width, each))


def _fill(text: str, width: Callable[[str], int], size: int) -> Iterator[str]:
    """Cut greedily into parts of at most `size`, without splitting a character."""
    start = 0
    while start < len(text):
        end = start + size
        while (excess := width(text[start:end]) - size) > 0:
            end -= (excess + 1) // 2  # never too many: a character is 2 wide at most
        yield text[start:end]
        start = end
