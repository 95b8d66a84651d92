"""What statistics are made of: tallies of attempts and messages that can be added up.

A tally is a set of named whole numbers, with money in millionths of its unit. So sums
are exact, whatever the order and grouping, and a mistake is corrected by subtracting
it. Response times are kept as a histogram whose bins grow by a tenth: a percentile
taken from it is within 5 % of the true one, however many tallies were added up.

Pure: no Django, no clock.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, auto
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from routing.vocabulary import AttemptOutcome, FallbackReason, MessageStatus

BIN_GROWTH = 1.1  # its square root is the largest error of a percentile
_MILLIONTHS = 6  # decimal places of a price
_COST, _PRICED = "cost:", "priced:"
_BIN = "ms:"
_STATUS, _FAILED_AFTER_SENT = "status:", "failed_after_sent"
# The columns of an attempt that are counted, except its cost.
COUNTED = ("outcome", "is_late", "is_retry", "fallback_reason", "response_time_ms")

Counts = Mapping[str, int]
K = TypeVar("K", date, int, str)  # one side of a key


@dataclass(frozen=True, slots=True)
class Spending:
    """What attempts cost in one currency; `priced` is how many had a known cost."""

    total: Decimal
    priced: int

    @property
    def average(self) -> Decimal | None:
        """Per attempt with a known cost; None without one."""
        return self.per(self.priced)

    def per(self, count: int) -> Decimal | None:
        """The total spread over `count`, to six places; None for none."""
        return round(self.total / count, _MILLIONTHS) if count > 0 else None


@dataclass(frozen=True, slots=True)
class Tally:
    """How often things happened. Equal if all numbers are; 0 is the same as none."""

    counts: Counts = field(default_factory=dict)

    def __post_init__(self) -> None:
        present = dict(self.counts)
        if not all(present.values()):
            present = {name: count for name, count in present.items() if count}
        object.__setattr__(self, "counts", present)

    def __add__(self, other: Tally) -> Tally:
        total = dict(self.counts)
        _add_to(total, other.counts)
        return Tally(total)

    def __sub__(self, other: Tally) -> Tally:
        total = dict(self.counts)
        _add_to(total, other.counts, times=-1)
        return Tally(total)

    def __bool__(self) -> bool:
        return bool(self.counts)

    @property
    def attempts(self) -> int:
        """Attempts to send by a provider, each counted once."""
        return self._of("attempts")

    @property
    def retries(self) -> int:
        """Attempts of a later round than a message's first."""
        return self._of("retries")

    @property
    def late_results(self) -> int:
        """Results that came after their attempt had been written off as Unknown."""
        return self._of("late")

    def outcome(self, outcome: AttemptOutcome) -> int:
        """Attempts with this outcome."""
        return self._of(f"outcome:{outcome:d}")

    def fallbacks(self, reason: FallbackReason) -> int:
        """Attempts at a provider other than the first choice, for this reason."""
        return self._of(f"fallback:{reason:d}")

    def messages(self, status: MessageStatus) -> int:
        """Messages that reached the status, without final ones corrected later."""
        return self._of(f"{_STATUS}{status:d}")

    @property
    def success_rate(self) -> float | None:
        """The share of attempts that providers accepted; None without attempts."""
        return _share(self.outcome(AttemptOutcome.ACCEPTED), self.attempts)

    @property
    def settled(self) -> int:
        """Accepted messages that were delivered or lost, as far as known."""
        lost = self.messages(MessageStatus.BOUNCED) + self._of(_FAILED_AFTER_SENT)
        return self.messages(MessageStatus.DELIVERED) + lost

    @property
    def delivery_rate(self) -> float | None:
        """The share of settled messages that arrived; None without any."""
        return _share(self.messages(MessageStatus.DELIVERED), self.settled)

    @property
    def average_response_ms(self) -> float | None:
        """Per timed call; None if no call was timed."""
        return _share(self._of("ms_sum"), sum(count for _, count in self._bins()))

    def response_ms(self, *quantiles: float) -> list[float] | list[None]:
        """The response times that these shares of the calls did not exceed.

        By nearest rank, with a relative error of at most 5 %; None if no call was
        timed.
        """
        bins = sorted(self._bins())
        reached = list(accumulate(count for _, count in bins))
        if not reached:
            return [None for _ in quantiles]
        ranks = (max(1, math.ceil(each * reached[-1])) for each in quantiles)
        return [_middle_of(bins[bisect_left(reached, rank)][0]) for rank in ranks]

    def spending(self) -> dict[str, Spending]:
        """What was spent, by currency."""
        currencies = sorted(
            name.removeprefix(_PRICED)
            for name in self.counts
            if name.startswith(_PRICED)
        )
        return {
            currency: Spending(
                Decimal(self._of(_COST + currency)).scaleb(-_MILLIONTHS),
                self._of(_PRICED + currency),
            )
            for currency in currencies
        }

    def _bins(self) -> list[tuple[int, int]]:
        return [
            (int(name[len(_BIN) :]), count)
            for name, count in self.counts.items()
            if name.startswith(_BIN)
        ]

    def _of(self, name: str) -> int:
        return self.counts.get(name, 0)


def attempt_counts(attempt: Mapping[str, Any]) -> Counts:
    """An attempt as numbers of a tally, from its columns; without its cost.

    A late result is not counted as an attempt: only its time and its cost count.
    """
    return _attempt_counts(*map(attempt.__getitem__, COUNTED))


@lru_cache(maxsize=10_000)  # most differ only in their times
def _attempt_counts(
    outcome: int,
    is_late: bool,
    is_retry: bool,
    fallback_reason: int | None,
    response_time_ms: int | None,
) -> Counts:
    if is_late:
        counts = {"late": 1}
    else:
        counts = {"attempts": 1, f"outcome:{outcome:d}": 1}
        if is_retry:
            counts["retries"] = 1
        if fallback_reason is not None:
            counts[f"fallback:{fallback_reason:d}"] = 1
    if response_time_ms is not None:
        counts[f"{_BIN}{_bin_of(response_time_ms)}"] = 1
        counts["ms_sum"] = response_time_ms
    return counts


def cost_counts(cost: Decimal | None, currency: str) -> Counts:
    """A cost as numbers of a tally; none if it is unknown."""
    if cost is None:
        return {}
    return {f"{_COST}{currency}": int(cost.scaleb(_MILLIONTHS)), _PRICED + currency: 1}


def status_counts(status: int, *, was_sent: bool = False) -> Counts:
    """A message that reached a status, as numbers of a tally.

    `was_sent`: a provider had accepted it before.
    """
    counts = {f"{_STATUS}{status:d}": 1}
    if status == MessageStatus.FAILED and was_sent:
        counts[_FAILED_AFTER_SENT] = 1
    return counts


class Part(Enum):
    """What a number of a tally is about."""

    ATTEMPTS = auto()
    MESSAGES = auto()

    def holds(self, name: str) -> bool:
        """Whether the number of this name belongs to it."""
        is_of_messages = name.startswith(_STATUS) or name == _FAILED_AFTER_SENT
        return is_of_messages == (self is Part.MESSAGES)


class Key(NamedTuple):
    """What tallies are kept by. The provider is blank if none was chosen yet."""

    day: date  # UTC
    channel: int
    provider: str


class TallySheet:
    """Tallies by day, channel and provider, as they are being counted."""

    def __init__(self) -> None:
        self._counts: dict[Key, dict[str, int]] = {}

    def count(
        self,
        counts: Counts,
        *,
        at: datetime,
        channel: int,
        provider: str,
        times: int = 1,
    ) -> None:
        """Add numbers to the day (UTC) of `at`, multiplied by `times`."""
        self.add(Key(day_of(at), channel, provider), counts, times=times)

    def count_attempt(self, attempt: Mapping[str, Any]) -> None:
        """Add an attempt, given as its columns; one without a cost may lack those."""
        where = _key_of(attempt)
        self.add(where, attempt_counts(attempt))
        if (cost := attempt.get("cost")) is not None:
            self.add(where, cost_counts(cost, attempt["currency"]))

    def change_cost(
        self, attempt: Mapping[str, Any], *, cost: Decimal, currency: str
    ) -> None:
        """Replace the cost that an attempt was counted with."""
        where = _key_of(attempt)
        self.add(where, cost_counts(attempt["cost"], attempt["currency"]), times=-1)
        self.add(where, cost_counts(cost, currency))

    def take_back(
        self, counts: Counts, *, at: datetime, channel: int, provider: str
    ) -> None:
        """Subtract numbers that were wrong or no longer apply."""
        self.add(Key(day_of(at), channel, provider), counts, times=-1)

    def add(self, key: Key, counts: Counts, *, times: int = 1) -> None:
        """Add numbers to a key's tally, multiplied by `times`; -1 subtracts them."""
        _add_to(self._counts.setdefault(key, {}), counts, times=times)

    def part(self, part: Part) -> TallySheet:
        """Only the numbers of this part."""
        sheet = TallySheet()
        for key, counts in self._counts.items():
            sheet.add(key, {name: counts[name] for name in counts if part.holds(name)})
        return sheet

    def tallies(self) -> Iterator[tuple[Key, Tally]]:
        """The tallies that are not empty, in the order of the keys."""
        for key in sorted(self._counts):
            if tally := Tally(self._counts[key]):
                yield key, tally

    def __sub__(self, other: TallySheet) -> TallySheet:
        difference = TallySheet()
        for sheet, sign in ((self, 1), (other, -1)):
            for key, tally in sheet.tallies():
                difference.add(key, tally.counts, times=sign)
        return difference


def total_by(
    side: Callable[[Key], K], tallies: Iterable[tuple[Key, Tally]]
) -> dict[K, Tally]:
    """Tallies added up by one side of their keys, in its order."""
    totals: dict[K, dict[str, int]] = {}
    for key, tally in tallies:
        _add_to(totals.setdefault(side(key), {}), tally.counts)
    return {each: Tally(totals[each]) for each in sorted(totals)}


def day_of(at: datetime) -> date:
    """The day in UTC that something counts for."""
    return at.astimezone(UTC).date()


def _key_of(attempt: Mapping[str, Any]) -> Key:
    day = day_of(attempt["attempted_at"])
    return Key(day, attempt["channel"], attempt["provider"])


def _add_to(total: dict[str, int], counts: Counts, *, times: int = 1) -> None:
    if not total and times == 1:  # most rows of a report are the first of their key
        total.update(counts)
        return
    for name, count in counts.items():
        total[name] = total.get(name, 0) + times * count


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _bin_of(milliseconds: int) -> int:
    """Bin 0 is for calls that took no time; bin n holds [1.1^(n-1), 1.1^n)."""
    if milliseconds <= 0:
        return 0
    return 1 + math.floor(math.log(milliseconds) / math.log(BIN_GROWTH))


def _middle_of(number: int) -> float:
    """The geometric middle: equally far, by factor, from both ends of the bin."""
    return BIN_GROWTH ** (number - 0.5) if number else 0.0
