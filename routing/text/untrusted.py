"""What comes from outside, which may be anything: read, stored and shown safely. Pure.

Reading never raises. Terminals act on control characters (ESC and the C1 range begin
commands), a line end in a log looks like the end of a record, and bidirectional
controls change how a page reads. They are removed where a provider's text comes in, and
shown as escapes wherever text is printed.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from routing.text.invisible import COMMANDS, DIRECTION_MARKS, TAGS

TEXT_LIMIT = 200  # of the columns of ids
AMOUNT_LIMIT = 10**9  # no message costs that much; sums stay in range
FIELD_LIMIT = 1000  # of a form; Twilio sends some 30, with 10 media
_DIGITS = re.compile(r"[0-9]{1,12}")


def json_value(body: bytes | str) -> Any:
    """The JSON document; None if it is not JSON (or is null)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def json_object(body: bytes | str) -> dict[str, Any]:
    """The JSON object; {} if it is not one."""
    value = json_value(body)
    return value if isinstance(value, dict) else {}


def form_fields(body: bytes) -> list[tuple[str, str]]:
    """The fields of an urlencoded form in order, with blank ones; [] if there are more
    than any provider sends.
    """
    text = body.decode(errors="replace")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FIELD_LIMIT)
    except ValueError:
        return []


def as_object(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else {}."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str:
    """A text or number as one line of limited length; "" for anything else.

    Without what no database stores (NUL, halves of surrogate pairs), and without what a
    terminal or a page would act on.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return one_line(str(value).encode(errors="replace").decode())[:TEXT_LIMIT]


def as_body(value: Any) -> str:
    """A text with its lines, without control characters; "" for anything else."""
    if not isinstance(value, str):
        return ""
    return plain_lines(value.encode(errors="replace").decode())


def as_number(value: Any) -> str:
    """A phone number with its plus; other senders as they are."""
    text = as_text(value)
    return f"+{text}" if text.isascii() and text.isdigit() and len(text) > 6 else text


def as_count(value: Any) -> int | None:
    """A whole number from 0 up, also from text; None for anything else."""
    text = as_text(value)
    return int(text) if _DIGITS.fullmatch(text) else None


def as_amount(value: Any) -> Decimal | None:
    """An amount of money from 0 up; None for anything else. Twilio's are negative."""
    try:
        amount = abs(Decimal(as_text(value)))
    except ArithmeticError:  # not a number, or beyond the range of Decimal
        return None
    return amount if amount.is_finite() and amount < AMOUNT_LIMIT else None


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
