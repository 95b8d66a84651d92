"""Retries by error class: when a failure that may pass is tried again.

A handset that is off, a full mailbox or greylisting has a time course of its own, which
a route's retry policy for failures of providers does not suit. The table says when to
try again after each failure of a class, in an answer or in a receipt.

Pure: no database, no network, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from routing.rules.retry import LONGEST_DELAY, PastAttempt
from routing.vocabulary import TRY_LATER, Channel, ErrorClass

MOST_DELAYS = 10
# A class that passes by itself may have a rule for all of its codes. For the others,
# which are mostly final, a rule is for one code.
PASSING = TRY_LATER | {ErrorClass.THROTTLED}
BY_CODE = frozenset(
    {
        ErrorClass.PROVIDER,
        ErrorClass.RECIPIENT,
        ErrorClass.MESSAGE,
        ErrorClass.UNMAPPED,
    }
)


class Failure(NamedTuple):
    """What a rule is found by."""

    channel: Channel
    provider: str
    error_class: ErrorClass
    code: str


@dataclass(frozen=True, slots=True)
class NextTry:
    """Another try after `delay`: its number among all tries, and the reason."""

    delay: timedelta
    number: int  # counted from the first attempt, which is 1
    of: int
    error_class: ErrorClass

    @property
    def note(self) -> str:
        """For people: "handset off; 2 of 4"."""
        return f"{self.error_class.label.lower()}; {self.number} of {self.of}"


@dataclass(frozen=True, slots=True)
class RetryRule:
    """The delays after the first, second, ... failure of a class; none: do not retry.

    A blank part of what it matches stands for all.
    """

    error_class: ErrorClass
    delays: tuple[timedelta, ...]
    channel: Channel | None = None
    provider: str = ""
    code: str = ""

    def covers(self, failure: Failure) -> bool:
        """Whether the rule is for this failure."""
        return (
            self.error_class == failure.error_class
            and self.code in ("", failure.code)
            and self.provider in ("", failure.provider)
            and self.channel in (None, failure.channel)
        )

    @property
    def specificity(self) -> tuple[bool, bool, bool]:
        """Sorts rules: a code, then a provider, then a channel."""
        return bool(self.code), bool(self.provider), self.channel is not None

    def next_try(self, *, times: int) -> NextTry | None:
        """The try after a failure before which there were `times` of its class; None
        if the rule allows no more.
        """
        if times >= len(self.delays):
            return None
        tries = 1 + len(self.delays)
        return NextTry(self.delays[times], times + 2, tries, self.error_class)


@dataclass(frozen=True, slots=True)
class RetryTable:
    """All rules in use."""

    rules: tuple[RetryRule, ...] = ()

    def rule(self, failure: Failure) -> RetryRule | None:
        """The most specific rule for a failure; None if there is none."""
        covering = [each for each in self.rules if each.covers(failure)]
        return max(covering, key=lambda each: each.specificity, default=None)


NO_RULES = RetryTable()


def times_failed(attempts: Iterable[PastAttempt], error_class: ErrorClass) -> int:
    """How many attempts failed with this class, in their answer or by a receipt."""
    return sum(error_class in (each.error_class, each.reported) for each in attempts)


# --- what people write -------------------------------------------------------------

_UNITS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_DELAY = re.compile(
    r"(\d{1,9})\s*(?:(d)(?:ays?)?|(h)(?:ours?)?|(min)(?:s|utes?)?|(s)(?:ec(?:onds?)?)?)",
    re.IGNORECASE,
)


def in_words(delays: Sequence[timedelta]) -> str:
    """Delays as people read them: "15 min, 1 h, 12 h"."""
    return ", ".join(map(exact_duration, delays)) or "not retried"


def read_delays(text: str) -> tuple[timedelta, ...]:
    """Delays as people write them, with commas; ValueError says what is wrong."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(map(_read_delay, parts))


def problem_with_delays(delays: Sequence[timedelta]) -> str:
    """Why a rule cannot have these delays; "" if it can."""
    if len(delays) > MOST_DELAYS:
        return f"There may be at most {MOST_DELAYS} delays; these are {len(delays)}."
    if any(each <= timedelta(0) for each in delays):
        return "Each delay must be longer than 0."
    if any(each > LONGEST_DELAY for each in delays):
        return f"A delay may be at most {LONGEST_DELAY.days} days."
    return ""


def problem_with_class(error_class: ErrorClass, code: str) -> str:
    """Why there can be no rule for this class; "" if there can."""
    label = error_class.label
    if error_class == ErrorClass.UNKNOWN:
        return f"{label}: it may have been sent, so the route's policy decides."
    if error_class in PASSING:
        return ""
    if error_class not in BY_CODE:
        return f"{label}: trying again would fail again, until somebody mends it."
    return "" if code else f"{label} is mostly final: give the code to retry."


def exact_duration(delay: timedelta) -> str:
    """Such as "90 s" or "15 min", in the largest unit that leaves no rest."""
    seconds = int(delay.total_seconds())
    for unit, size in _UNITS.items():
        if seconds and seconds % size == 0 and (unit != "d" or seconds > size):
            return f"{seconds // size} {unit}"
    return "0 s"


def _read_delay(text: str) -> timedelta:
    match = _DELAY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no delay: write 15 min, 1 h or 2 d.")
    return timedelta(
        seconds=int(match[1]) * _UNITS[match[match.lastindex or 0].lower()]
    )
