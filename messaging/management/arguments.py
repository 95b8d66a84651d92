"""Arguments that several commands take, in the same words."""

from __future__ import annotations

from typing import Any, Protocol


class Arguments(Protocol):
    """A parser of `argparse`, or a group of its arguments."""

    def add_argument(self, *flags: str, **options: Any) -> Any:
        """As `argparse` has it."""


# Where somebody may name the country of a file's national numbers.
COUNTRY_IN = "in a column country or with --default-region"


def add_default_region(parser: Arguments) -> None:
    """Where the national numbers of a file are at home."""
    parser.add_argument(
        "--default-region",
        default="",
        metavar="CC",
        help="country of national numbers in rows without a 'country'",
    )


def add_address(parser: Arguments) -> None:
    """Whose data a command is about."""
    parser.add_argument("address", help="+447400123456, or ada@example.com")
