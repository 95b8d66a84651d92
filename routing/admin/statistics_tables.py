"""Statistics as tables: for a page, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from typing import Any, NamedTuple

from routing.csv_files import harmless
from routing.rules.figures import (
    NOTHING,
    delivery_rate,
    figures,
    milliseconds,
    spending,
    success_rate,
)
from routing.rules.tally import Tally
from routing.vocabulary import FallbackReason, MessageStatus

_COST, _COUNTS_OF_COSTS = "cost_", ("_total", "_priced_attempts")


class Column(NamedTuple):
    """A column of the page's tables: group, title, meaning and content."""

    group: str
    title: str
    meaning: str
    cell: Callable[[Tally], str]


def _messages(status: MessageStatus) -> Callable[[Tally], str]:
    return lambda tally: f"{tally.messages(status):,}"


def _queued(tally: Tally) -> str:
    count = tally.messages(MessageStatus.QUEUED)
    return f"{count:,}" if count else NOTHING


def _response(quantile: float) -> Callable[[Tally], str]:
    return lambda tally: milliseconds(tally.response_ms(quantile)[0])


def _fallbacks(tally: Tally) -> str:
    return f"{sum(map(tally.fallbacks, FallbackReason)):,}"


COLUMNS = (
    Column("Messages", "queued", "no provider chosen yet", _queued),
    Column("Messages", "sent", "accepted", _messages(MessageStatus.SENT)),
    Column("Messages", "delivered", "by receipts", _messages(MessageStatus.DELIVERED)),
    Column("Messages", "failed", "gave up", _messages(MessageStatus.FAILED)),
    Column("Messages", "bounced", "came back", _messages(MessageStatus.BOUNCED)),
    Column(
        "Messages",
        "rate",
        "delivered / (delivered + bounced + failed after acceptance)",
        delivery_rate,
    ),
    Column("Attempts", "all", "one per message and call", lambda t: f"{t.attempts:,}"),
    Column("Attempts", "accepted", "accepted / attempts", success_rate),
    Column("Attempts", "fallbacks", "not by the first choice", _fallbacks),
    Column("Response, ms", "p50", "within 5 %", _response(0.5)),
    Column("Response, ms", "p95", "within 5 %", _response(0.95)),
    Column("Response, ms", "p99", "within 5 %", _response(0.99)),
    Column("Spent", "total", "as far as costs are known", spending),
)


def groups() -> Iterator[tuple[str, int]]:
    """The groups of the columns, and how many columns each has."""
    names = [column.group for column in COLUMNS]
    return ((name, names.count(name)) for name in dict.fromkeys(names))


def cells(tally: Tally) -> list[str]:
    """The content of the columns."""
    return [column.cell(tally) for column in COLUMNS]


def as_csv(side: str, tallies: Mapping[str, Tally]) -> str:
    """All figures of one side, one line each, with its name in the first column."""
    lines = [{side: label} | flat(figures(tally)) for label, tally in tallies.items()]
    columns = dict.fromkeys(name for line in lines for name in line) or {side: None}
    text = StringIO()
    writer = csv.DictWriter(text, list(columns))
    writer.writeheader()
    writer.writerows(_line(line, columns) for line in lines)
    return text.getvalue()


def _line(figures: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """All columns of a line. Counts and totals of an unused currency are 0, averages
    are blank.
    """
    spent_nothing = {
        name: 0
        for name in columns
        if name.startswith(_COST) and name.endswith(_COUNTS_OF_COSTS)
    }
    return spent_nothing | {name: _harmless(value) for name, value in figures.items()}


def flat(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Figures without nesting: `messages_sent`, `cost_USD_total`."""
    costs = {
        f"{_COST}{each['currency']}": {k: each[k] for k in each if k != "currency"}
        for each in shown["costs"]
    }
    rest = {name: value for name, value in shown.items() if name != "costs"}
    return dict(_flattened((rest | costs).items()))


def _flattened(figures: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in figures:
        if isinstance(value, Mapping):
            yield from ((f"{name}_{inner}", count) for inner, count in value.items())
        else:
            yield name, value


def _harmless(value: Any) -> Any:
    """A text that no spreadsheet runs as a formula; other values as they are."""
    return harmless(value) if isinstance(value, str) else value
