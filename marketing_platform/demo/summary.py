"""The results of a run, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Count, Sum
from rich.console import Console
from rich.table import Table

from marketing_platform.demo.check import Verdict
from messaging.models import CampaignMessage
from routing.models import MessageDeliveryAttempt
from routing.text.quantities import quantity
from routing.vocabulary import AttemptOutcome, Channel, FallbackReason, MessageStatus


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures of a run; `as_json` is what `--json` prints."""

    channels: dict[str, dict[str, int]]  # channel -> status -> messages
    fallbacks: dict[str, int]  # reason -> attempts
    retries: int  # rounds after the first one
    attempts: int
    unknown_outcomes: int
    cost: dict[str, str]  # currency -> amount
    seconds: float
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """The summary for machines."""
        return asdict(self)


def summarise(
    campaign_ids: Sequence[int], *, verdict: Verdict, seconds: float
) -> Summary:
    """Collect the figures of some campaigns."""
    messages = CampaignMessage.objects.filter(campaign__in=campaign_ids).order_by()
    attempts = MessageDeliveryAttempt.objects.filter(
        message__campaign__in=campaign_ids
    ).order_by()
    costs = attempts.exclude(cost=None).values_list("currency")
    return Summary(
        channels=_channels(
            messages.values_list("channel", "status").annotate(Count("id"))
        ),
        fallbacks={
            FallbackReason(reason).label: count
            for reason, count in attempts.exclude(fallback_reason=None)
            .values_list("fallback_reason")
            .annotate(Count("id"))
        },
        retries=messages.aggregate(sum=Sum("retry_count"))["sum"] or 0,
        attempts=attempts.count(),
        unknown_outcomes=attempts.filter(outcome=AttemptOutcome.UNKNOWN).count(),
        cost={
            # SQLite sums decimals as floats: round to the original six places.
            currency: f"{total:.6f}"
            for currency, total in costs.annotate(Sum("cost"))
        },
        seconds=round(seconds, 1),
        verdict=verdict,
    )


def _channels(rows: Any) -> dict[str, dict[str, int]]:
    shown = [
        MessageStatus.QUEUED,
        MessageStatus.SENDING,
        MessageStatus.SENT,
        MessageStatus.DELIVERED,
        MessageStatus.FAILED,
        MessageStatus.BOUNCED,
    ]
    channels: dict[str, dict[str, int]] = {}
    for channel, status, count in rows:
        counts = channels.setdefault(
            Channel(channel).label, {each.label: 0 for each in shown}
        )
        counts[MessageStatus(status).label] = count
    return channels


def print_summary(summary: Summary, console: Console) -> None:
    """The summary for people."""
    statuses = list(next(iter(summary.channels.values()), {}))
    table = Table(title="Messages by status")
    for column in ("Channel", *statuses, "Total"):
        table.add_column(column, justify="left" if column == "Channel" else "right")
    for channel, counts in summary.channels.items():
        row = [counts[status] for status in statuses]
        table.add_row(channel, *map(str, row), str(sum(row)))
    console.print(table)
    for name, value in _facts(summary):
        console.print(f"{name:>18}  {value}")


def _facts(summary: Summary) -> list[tuple[str, str]]:
    verdict = summary.verdict
    return [
        ("Fallbacks", _pairs(summary.fallbacks)),
        ("Retries", str(summary.retries)),
        (
            "Attempts",
            f"{summary.attempts}, {summary.unknown_outcomes} unknown at first",
        ),
        ("Cost", _pairs(summary.cost)),
        ("Time", f"{summary.seconds} s"),
        (
            "Handsets",
            f"{quantity(verdict.on_handsets, 'message')} arrived: lost {verdict.lost}, "
            f"doubled {verdict.doubled}, unrecorded {verdict.unrecorded}, unconfirmed "
            f"{verdict.unconfirmed}",
        ),
    ]


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{value} {name}" for name, value in values.items()) or "none"
