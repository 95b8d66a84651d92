"""Arguments that several commands share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from django.utils import timezone
from django.utils.dateparse import parse_datetime


class Arguments(Protocol):
    """A parser of `argparse`, or a group of its arguments."""

    def add_argument(self, *flags: str, **options: Any) -> Any:
        """As in `argparse`."""


# Where the country of a file's national numbers may be given, in error texts.
COUNTRY_IN = "in a column country or with --default-region"


def add_default_region(parser: Arguments) -> None:
    """Add the default country of a file's national numbers."""
    parser.add_argument(
        "--default-region",
        default="",
        metavar="CC",
        help="country of national numbers in rows without a 'country'",
    )


def add_address(parser: Arguments) -> None:
    """Add the address whose data a command handles."""
    parser.add_argument("address", help="+447400123456, or ada@example.com")


def read_time(text: str) -> datetime | None:
    """An ISO time, in this host's time zone unless it names one; None if it is none."""
    try:
        parsed = parse_datetime(text)
    except ValueError:
        return None
    if parsed is None:
        return None
    aware = parsed if timezone.is_aware(parsed) else timezone.make_aware(parsed)
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        return None
