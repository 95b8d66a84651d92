"""Text that may stand in a header. Pure."""

from __future__ import annotations

from unicodedata import category

# Controls (with CR, LF and NUL), halves of surrogate pairs, and the separators of lines
# and paragraphs, which are no controls but end a line to some programs.
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def is_one_line(text: str) -> bool:
    """Whether nothing in it can end a header and begin another one."""
    if text.isascii():
        return text.isprintable()  # the same at a tenth of the cost
    return _FORBIDDEN.isdisjoint(map(category, text))
