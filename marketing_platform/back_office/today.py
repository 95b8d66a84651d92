"""Today's messages as a funnel, beside yesterday's until the same time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from routing.rules.figures import percent
from routing.rules.tally import Tally, day_of
from routing.statistics.entries import read_totals
from routing.statistics.minutes import Counts, counts_of, minute_of, total_counts
from routing.vocabulary import MessageStatus

A_DAY = timedelta(days=1)
STEPS = ("queued", "sent", "delivered", "failed")
WIDTH = 100  # of the largest bar


@dataclass(frozen=True, slots=True)
class Step:
    """How many messages came this far today."""

    label: str
    count: int
    width: int  # in percent of the largest
    note: str  # its share, or what became of the others
    yesterday: str  # until the same time

    @property
    def is_loss(self) -> bool:
        """Whether these did not arrive."""
        return self.label == "failed"


def today(*, now: datetime) -> list[Step]:
    """The steps, in the order that messages take them; none if nothing happened."""
    day = day_of(now)
    total = sum((t for _, t in read_totals(first=day, last=day).tallies()), Tally())
    counts, before = counts_of(total), _yesterday(now)
    if counts == before == Counts():
        return []
    largest = max(getattr(counts, name) for name in STEPS) or 1
    return [
        Step(
            label=name,
            count=getattr(counts, name),
            width=round(WIDTH * max(getattr(counts, name), 0) / largest),
            note=_note(name, counts, total),
            yesterday=_beside(getattr(before, name)),
        )
        for name in STEPS
    ]


def _yesterday(now: datetime) -> Counts:
    midnight = datetime.combine(day_of(now) - A_DAY, time.min, UTC)
    return total_counts(since=midnight, until=minute_of(now) - A_DAY)


def _beside(count: int) -> str:
    return f"{count:,} yesterday by now" if count > 0 else "none yesterday by now"


def _note(name: str, counts: Counts, total: Tally) -> str:
    match name:
        case "sent" if counts.queued > 0:
            return f"{percent(counts.sent / counts.queued)} of those queued today"
        case "delivered" if total.delivery_rate is not None:
            return f"{percent(total.delivery_rate)} of {total.settled:,} with a result"
        case "failed":
            return _withheld(total)
    return ""


def _withheld(total: Tally) -> str:
    """What was not sent on purpose is no failure, but no message either."""
    kinds = (MessageStatus.SUPPRESSED, MessageStatus.EXPIRED, MessageStatus.CANCELLED)
    counts = {kind.label.lower(): total.messages(kind) for kind in kinds}
    shown = [f"{count:,} {label}" for label, count in counts.items() if count > 0]
    return f"not counted: {', '.join(shown)}" if shown else ""
