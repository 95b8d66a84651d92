"""Text from outside, made safe to store and to show. Pure.

Terminals act on control characters (ESC and the C1 range begin commands), a line end in
a log looks like the end of a record, and bidirectional controls change how a page
reads. They are removed where a provider's text comes in, and shown as escapes wherever
text is printed.
"""

from __future__ import annotations

import re

from routing.text.invisible import COMMANDS, DIRECTION_MARKS, TAGS

_MARKS = f"{DIRECTION_MARKS}{TAGS}"
_IN_TEXT = re.compile(f"[{COMMANDS}]")
_IN_LINE = re.compile(f"[{COMMANDS}{_MARKS}\t\n]")
_IN_LINES = re.compile(f"[{COMMANDS}{_MARKS}]")


def one_line(text: str) -> str:
    """The visible text on one line, its words separated by single spaces."""
    words = " ".join(text.split())
    return words if words.isascii() and words.isprintable() else _visible(words)


def plain_lines(text: str) -> str:
    """The text with its lines, as in a message, without control characters."""
    return _IN_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def escaped(text: str, *, keep_lines: bool = False) -> str:
    r"""The text with unprintable characters as Python writes them, such as `\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return (_IN_LINES if keep_lines else _IN_LINE).sub(_escape, text)


def _visible(words: str) -> str:
    return " ".join(_IN_LINE.sub("", words).split())


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")
