"""Reading what comes over a wire, where anything may come: nothing here raises."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from routing.text.safe_text import one_line, plain_lines

TEXT_LIMIT = 200  # what the columns of ids hold
AMOUNT_LIMIT = 10**9  # no message costs as much; sums of them stay numbers
FIELD_LIMIT = 1000  # of a form; Twilio sends some 30, and 10 media
_DIGITS = re.compile(r"[0-9]{1,12}")


def json_value(body: bytes | str) -> Any:
    """The JSON document; None when it is none (or is null)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def json_object(body: bytes | str) -> dict[str, Any]:
    """The JSON object; {} when it is none."""
    value = json_value(body)
    return value if isinstance(value, dict) else {}


def form_fields(body: bytes) -> list[tuple[str, str]]:
    """The fields of an urlencoded form in their order, blank ones too; [] when they are
    more than any provider sends.
    """
    text = body.decode(errors="replace")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FIELD_LIMIT)
    except ValueError:
        return []


def as_object(value: Any) -> dict[str, Any]:
    """The value when it is a JSON object; {} when it is not."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str:
    """A text or number as one line of bounded length; "" for anything else.

    Without what no database stores (NUL, halves of surrogate pairs), and what a
    terminal or a page would act on.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return one_line(str(value).encode(errors="replace").decode())[:TEXT_LIMIT]


def as_body(value: Any) -> str:
    """A text with its lines, without what commands; "" for anything else."""
    if not isinstance(value, str):
        return ""
    return plain_lines(value.encode(errors="replace").decode())


def as_number(value: Any) -> str:
    """A phone number with its plus, where it is one; other senders as they are."""
    text = as_text(value)
    return f"+{text}" if text.isascii() and text.isdigit() and len(text) > 6 else text


def as_count(value: Any) -> int | None:
    """A whole number from 0 up, also when it came as text."""
    text = as_text(value)
    return int(text) if _DIGITS.fullmatch(text) else None


def as_amount(value: Any) -> Decimal | None:
    """An amount of money from 0 up. Twilio writes what it charges as a negative."""
    try:
        amount = abs(Decimal(as_text(value)))
    except ArithmeticError:  # no number, or one beyond what Decimal holds
        return None
    return amount if amount.is_finite() and amount < AMOUNT_LIMIT else None
