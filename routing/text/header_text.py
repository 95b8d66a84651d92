"""Text that is safe in a header. Pure."""

from __future__ import annotations

from unicodedata import category

# Controls (including CR, LF and NUL), lone surrogates, and line and paragraph
# separators, which are not controls but end a line in some programs.
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def is_one_line(text: str) -> bool:
    """Whether it cannot end a header and begin another one."""
    if text.isascii():
        return text.isprintable()  # the same at a tenth of the cost
    return _FORBIDDEN.isdisjoint(map(category, text))
