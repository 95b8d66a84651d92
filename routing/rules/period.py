"""The days that a report is about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

BEFORE_LAST = timedelta(days=29)  # the first day, when it is not named


class StartsAfterItsEnd(ValueError):
    """The first day comes after the last one; the text says which that is."""

    def __init__(self, last: date) -> None:
        super().__init__(f"It comes after the last day, {last}.")


@dataclass(frozen=True, slots=True)
class Period:
    """Some days in UTC, the first and the last of them included."""

    first: date
    last: date

    @classmethod
    def named(cls, first: date | None, last: date | None, *, today: date) -> Period:
        """The days between those that are named: without a last one up to today, and
        without a first one 30 of them. May raise StartsAfterItsEnd.
        """
        last = last or today
        first = first or max(date.min + BEFORE_LAST, last) - BEFORE_LAST
        if first > last:
            raise StartsAfterItsEnd(last)
        return cls(first, last)
