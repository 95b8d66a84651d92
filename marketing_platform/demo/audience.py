"""Made-up recipients for the demo, different for each seed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random

FIRST_NAMES = ["Ada", "Chloé", "Denis", "Grace", "Jürgen", "Lin", "Noor", "Zofia"]


def write_phones(path: Path, *, count: int, rng: Random) -> None:
    """A CSV file of `count` mobile numbers, national ones with their country."""
    formats = [
        ("US", "415555{:04}"),
        ("GB", "0740012{:04}"),
        ("DE", "015112{:06}"),
    ]
    _write(
        path,
        ["phone", "country", "first_name"],
        (
            [
                formats[number % len(formats)][1].format(number),
                formats[number % len(formats)][0],
                rng.choice(FIRST_NAMES),
            ]
            for number in range(count)
        ),
    )


def write_emails(path: Path, *, count: int, rng: Random) -> None:
    """A CSV file of `count` e-mail addresses at example.com."""
    _write(
        path,
        ["email", "first_name"],
        (
            [f"reader{number}@example.com", rng.choice(FIRST_NAMES)]
            for number in range(count)
        ),
    )


def _write(path: Path, header: list[str], rows: Iterator[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
