"""The days that a report covers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

BEFORE_LAST = timedelta(days=29)  # the default first day


class StartsAfterItsEnd(ValueError):
    """The first day comes after the last one, which the text names."""

    def __init__(self, last: date) -> None:
        super().__init__(f"It comes after the last day, {last}.")


@dataclass(frozen=True, slots=True)
class Period:
    """A range of days in UTC, including the first and the last."""

    first: date
    last: date

    @classmethod
    def named(cls, first: date | None, last: date | None, *, today: date) -> Period:
        """The days between the given ones; by default the last is today, and there are
        30 days. May raise StartsAfterItsEnd.
        """
        last = last or today
        first = first or max(date.min + BEFORE_LAST, last) - BEFORE_LAST
        if first > last:
            raise StartsAfterItsEnd(last)
        return cls(first, last)
