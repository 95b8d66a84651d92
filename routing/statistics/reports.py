"""Statistics for screens and endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from routing.rules.period import Period
from routing.rules.tally import Tally, total_by
from routing.statistics.entries import read_totals
from routing.vocabulary import Channel


@dataclass(frozen=True, slots=True)
class StatisticsReport:
    """The figures of some days, in total and by channel, provider and day.

    Days, channels and providers without any counts are left out. Messages without a
    provider yet are not in `by_provider`.
    """

    total: Tally
    by_channel: dict[int, Tally]
    by_provider: dict[str, Tally]
    by_day: dict[date, Tally]


def statistics_report(
    period: Period, *, channel: Channel | None = None, provider: str = ""
) -> StatisticsReport:
    """The report of some days, and of one channel or provider if given.

    Reads one row per day and provider.
    """
    sheet = read_totals(first=period.first, last=period.last, channel=channel)
    tallies = [
        (key, tally)
        for key, tally in sheet.tallies()
        if not provider or key.provider == provider
    ]
    by_provider = total_by(lambda key: key.provider, tallies)
    total = sum(by_provider.values(), Tally())
    by_provider.pop("", None)
    return StatisticsReport(
        total=total,
        by_channel=total_by(lambda key: key.channel, tallies),
        by_provider=by_provider,
        by_day=total_by(lambda key: key.day, tallies),
    )
