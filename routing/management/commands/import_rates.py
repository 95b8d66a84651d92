"""manage.py import_rates: a provider's price list, from a CSV file."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from routing.money import Money
from routing.prices.rate_decks import (
    RateChange,
    RateDiff,
    RateImportError,
    import_rates,
)
from routing.prices.rate_files import RateFileError
from routing.terminal import PlainCommand
from routing.vocabulary import Channel


class Command(PlainCommand):
    help = (
        "Import a provider's prices from a CSV file, all of them or none, and print "
        "the changes. The file is UTF-8 with a header: 'prefix' or 'country' or both, "
        "'price_per_segment' or 'price', and 'currency'; other columns are ignored. "
        "Prices missing from the file are kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--provider", required=True, help="its name in MESSAGE_PROVIDERS"
        )
        parser.add_argument("--channel", required=True, help="sms or mms")
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument(
            "--valid-from",
            metavar="DATE",
            help="the first day of the prices, such as 2030-01-31 (default: today)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only print what would change"
        )
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        valid_from = _day(options["valid_from"])
        try:
            diff = import_rates(
                provider=options["provider"],
                channel=_channel(options["channel"]),
                path=options["file"],
                valid_from=valid_from,
                dry_run=options["dry_run"],
            )
        except (RateImportError, RateFileError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(diff, valid_from, options)))
        else:
            self.stdout.writelines(f"{line}\n" for line in _report(diff))
            self.stdout.write(_summary(diff, valid_from, options))


def _channel(name: str) -> Channel:
    try:
        return Channel[name.upper()]
    except KeyError:
        known = ", ".join(channel.name.lower() for channel in Channel)
        raise CommandError(
            f"Unknown channel {name!r}. Channels are: {known}."
        ) from None


def _day(text: str | None) -> date:
    if text is None:
        return timezone.localdate()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"--valid-from {text!r} is not a date such as 2030-01-31."
        ) from None


def _report(diff: RateDiff) -> Iterator[str]:
    """A line for each price that is new, changed, or missing from the file."""
    for change in diff.added:
        yield f"+ {_place(change)}: {_text(change.new)}"
    for change in diff.changed:
        yield f"~ {_place(change)}: {_text(change.old)} -> {_text(change.new)}"
    for change in diff.missing:
        yield f"= {_place(change)}: {_text(change.old)}, not in the file, kept"


def _summary(diff: RateDiff, valid_from: date, options: dict[str, Any]) -> str:
    counts = (
        f"{options['provider']} from {valid_from}: {len(diff.added)} added, "
        f"{len(diff.changed)} changed, {diff.unchanged} unchanged, "
        f"{len(diff.missing)} not in the file and kept."
    )
    return f"{counts} Dry run: nothing was written." if options["dry_run"] else counts


def _place(change: RateChange) -> str:
    return " ".join(filter(None, [change.dial_prefix, change.country]))


def _text(money: Money | None) -> str:
    return "" if money is None else str(money)


def _amount(money: Money) -> str:
    """Without the zeros that the column adds."""
    return f"{money.amount.normalize():f}"


def _as_json(
    diff: RateDiff, valid_from: date, options: dict[str, Any]
) -> dict[str, Any]:
    return {
        "provider": options["provider"],
        "channel": _channel(options["channel"]),
        "validFrom": valid_from.isoformat(),
        "dryRun": options["dry_run"],
        "added": _changes_as_json(diff.added),
        "changed": _changes_as_json(diff.changed),
        "unchanged": diff.unchanged,
        "missing": _changes_as_json(diff.missing),
    }


def _changes_as_json(changes: Iterable[RateChange]) -> list[dict[str, Any]]:
    return [
        {
            "prefix": change.dial_prefix,
            "country": change.country,
            "old": _money_as_json(change.old),
            "new": _money_as_json(change.new),
        }
        for change in changes
    ]


def _money_as_json(money: Money | None) -> dict[str, str] | None:
    if money is None:
        return None
    return {"price": _amount(money), "currency": money.currency}
