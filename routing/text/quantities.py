"""Counts with their nouns. Pure."""

from __future__ import annotations


def quantity(count: int, one: str, many: str = "") -> str:
    """Such as "1 row", "0 rows" or "1,200 rows"; `many` is an irregular plural."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
