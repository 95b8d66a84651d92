"""Rate decks in the database: imported from files, and read for decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Sum

from routing.models import Rate, RateQuerySet, problem_with_deck
from routing.money import Money
from routing.prices.rate_files import Place, read_rate_file
from routing.rules.costs import RateRow, RateTable
from routing.signals import report
from routing.vocabulary import Channel

CHUNK = 1000  # rows written at once


class RateImportError(ValueError):
    """The rates cannot be imported; the text says what to change."""


@dataclass(frozen=True, slots=True)
class RateChange:
    """The change of the price of a destination; None where there is no price."""

    dial_prefix: str
    country: str
    old: Money | None
    new: Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDiff:
    """A file compared with the deck as of the day that the file is valid from."""

    added: list[RateChange]
    changed: list[RateChange]
    unchanged: int
    missing: list[RateChange]  # in the deck but not in the file; kept


def import_rates(
    *,
    provider: str,
    channel: Channel,
    path: Path,
    valid_from: date,
    dry_run: bool = False,
) -> RateDiff:
    """Make the prices of a file valid from a day on; returns the changes.

    All or nothing: RateImportError or RateFileError leaves the deck unchanged. Prices
    of earlier days stay, and so do those already entered for later days.

    1. read and check the whole file, outside any transaction
    2. lock the deck by its oldest row, so that the second of two imports sees what
       the first one wrote
    3. compare with the prices valid on the day, and write only the differences
    """
    if problem := problem_with_deck(provider, channel):
        raise RateImportError(problem)
    prices = read_rate_file(path)
    deck = Rate.objects.deck(provider=provider, channel=channel)
    with transaction.atomic():
        # An empty deck has nothing to lock, and nothing to compare with either.
        deck.select_for_update().order_by("id").first()
        diff = _diff(_prices_on(deck, valid_from), prices)
        if not dry_run:
            _write(
                Rate(
                    provider=provider,
                    channel=channel,
                    dial_prefix=change.dial_prefix,
                    country=change.country,
                    price=change.new.amount,
                    currency=change.new.currency,
                    valid_from=valid_from,
                )
                for change in diff.added + diff.changed
                if change.new is not None
            )
            _report(diff, provider=provider, channel=channel, valid_from=valid_from)
    return diff


def _report(diff: RateDiff, **what: Any) -> None:
    what |= {"added": len(diff.added), "changed": len(diff.changed)}
    report("import rates", None, **what)


def load_rate_table(*, provider: str, channel: Channel) -> RateTable:
    """The deck of a provider on a channel; it may be empty."""
    rows = Rate.objects.deck(provider=provider, channel=channel).values_list(
        "dial_prefix", "country", "price", "currency", "valid_from"
    )
    # A deck has many prefixes and few prices.
    money = lru_cache(maxsize=CHUNK)(Money)
    return RateTable(
        RateRow(prefix, country, money(amount, currency), valid_from)
        for prefix, country, amount, currency, valid_from in rows
    )


class RateBook:
    """A worker's cache of decks, each checked when it is older than `max_age`.

    The check is one aggregate over the deck's rows; they are read again only if it
    shows a change.
    """

    def __init__(self, *, max_age: timedelta = timedelta(seconds=60)) -> None:
        self._max_age = max_age
        self._pages: dict[tuple[str, Channel], _Page] = {}

    def table(self, *, provider: str, channel: Channel, now: datetime) -> RateTable:
        """The deck of a provider on a channel, at most `max_age` behind."""
        page = self._pages.get((provider, channel))
        if page is None or abs(now - page.checked_at) >= self._max_age:
            page = self._turn(page, provider, channel, now)
            self._pages[provider, channel] = page
        return page.table

    def _turn(
        self, page: _Page | None, provider: str, channel: Channel, now: datetime
    ) -> _Page:
        # The marker before the rows: a change in between is noticed at the next check.
        marker = _change_marker(provider, channel)
        if page is not None and page.marker == marker:
            return _Page(page.table, marker, now)
        return _Page(load_rate_table(provider=provider, channel=channel), marker, now)


@dataclass(frozen=True, slots=True)
class _Page:
    """A deck as it was read, and when it was last checked."""

    table: RateTable
    marker: Mapping[str, Any]
    checked_at: datetime


def _change_marker(provider: str, channel: Channel) -> Mapping[str, Any]:
    """Differs after every change: new rows, edits, deletions.

    The sum catches edits by a host whose clock is behind.
    """
    return Rate.objects.deck(provider=provider, channel=channel).aggregate(
        rows=Count("id"), newest=Max("updated_at"), prices=Sum("price")
    )


def _prices_on(deck: RateQuerySet, day: date) -> dict[Place, Money]:
    rows = (
        deck.filter(valid_from__lte=day)
        .order_by("valid_from")
        .values_list("dial_prefix", "country", "price", "currency")
    )
    return {
        (prefix, country): Money(price, currency)
        for prefix, country, price, currency in rows
    }


def _diff(old: Mapping[Place, Money], new: Mapping[Place, Money]) -> RateDiff:
    return RateDiff(
        added=[
            RateChange(*place, None, price)
            for place, price in new.items()
            if place not in old
        ],
        changed=[
            RateChange(*place, old[place], price)
            for place, price in new.items()
            if place in old and old[place] != price
        ],
        unchanged=sum(old.get(place) == price for place, price in new.items()),
        missing=[
            RateChange(*place, price, None)
            for place, price in sorted(old.items(), key=lambda item: item[0])
            if place not in new
        ],
    )


def _write(rates: Iterable[Rate]) -> None:
    """Add rows; an existing row of the same destination and day gets the new price.

    In a fixed order, so that two first imports of a deck do not block each other.
    """
    Rate.objects.bulk_create(
        sorted(rates, key=lambda rate: (rate.dial_prefix, rate.country)),
        batch_size=CHUNK,
        update_conflicts=True,
        unique_fields=[
            "provider",
            "channel",
            "dial_prefix",
            "country",
            "valid_from",
        ],
        update_fields=["price", "currency", "updated_at"],
    )
