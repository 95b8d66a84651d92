"""How many parts an SMS text is sent in.

A text that fits the GSM 7-bit default alphabet (3GPP TS 23.038 §6.2.1) has 160 septets
in one part, or 153 in each of several; the characters of its extension table cost two
septets and are never split. Any other text is UCS-2: 70 UTF-16 units in one part, or 67
in each of several, and a surrogate pair is never split. The figures for several parts
leave room for the header that joins them (TS 23.040 §9.2.3.24).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

GSM7_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM7_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM7 = GSM7_BASIC | GSM7_EXTENSION


def is_gsm7(text: str) -> bool:
    """Whether the text needs no character outside the GSM 7-bit alphabet."""
    return _GSM7.issuperset(text)


def split_segments(text: str) -> list[str]:
    """The text in the parts that it is sent in; an empty text is one empty part."""
    if is_gsm7(text):
        return _split(text, _septets, single=160, each=153)
    return _split(text, _utf16_units, single=70, each=67)


def count_segments(text: str) -> int:
    """How many parts `text` is sent, and billed, in."""
    return len(split_segments(text))


def _septets(character: str) -> int:
    return 2 if character in GSM7_EXTENSION else 1


def _utf16_units(character: str) -> int:
    return 2 if ord(character) > 0xFFFF else 1


def _split(
    text: str, width: Callable[[str], int], *, single: int, each: int
) -> list[str]:
    if 2 * len(text) <= single or sum(map(width, text)) <= single:
        return [text]
    return list(_fill(text, width, each))


def _fill(text: str, width: Callable[[str], int], size: int) -> Iterable[str]:
    """Cut greedily into parts of at most `size`; a wide character moves on whole."""
    start = used = 0
    for position, character in enumerate(text):
        cost = width(character)
        if used + cost > size:
            yield text[start:position]
            start, used = position, 0
        used += cost
    yield text[start:]
