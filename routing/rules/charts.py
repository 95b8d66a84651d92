"""Bar charts as inline SVG: no script, legible without colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BAR_WIDTH, BAR_STEP = 8, 10
HEIGHT = 48


@dataclass(frozen=True, slots=True)
class Amount:
    """The value of a bar."""

    label: str
    total: int
    bad: int = 0  # how many of the total failed


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar in the units of its chart, and its tooltip."""

    x: int
    y: float
    height: float
    bad_y: float
    bad_height: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars beside each other, in the order of the amounts."""

    bars: list[Bar]
    label: str  # for people who cannot see it
    height: int = HEIGHT
    bar_width: int = BAR_WIDTH

    @property
    def width(self) -> int:
        """Of all bars."""
        return BAR_STEP * len(self.bars)


def chart(amounts: Sequence[Amount], *, of: str) -> Chart:
    """A chart of amounts `of` something; the largest has the full height."""
    largest = max((each.total for each in amounts), default=0) or 1
    bars = [
        _bar(BAR_STEP * place, each, HEIGHT / largest, of)
        for place, each in enumerate(amounts)
    ]
    return Chart(bars, f"{of.capitalize()}, at most {largest:,}")


def _bar(x: int, amount: Amount, scale: float, of: str) -> Bar:
    height, bad_height = amount.total * scale, amount.bad * scale
    failed = f", {amount.bad:,} not accepted" if amount.bad else ""
    return Bar(
        x=x,
        y=round(HEIGHT - height, 2),
        height=round(height, 2),
        bad_y=round(HEIGHT - bad_height, 2),
        bad_height=round(bad_height, 2),
        title=f"{amount.label}: {amount.total:,} {of}{failed}",
    )
