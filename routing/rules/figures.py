"""The figures that statistics show of a tally. Pure."""

from __future__ import annotations

from typing import Any

from routing.rules.tally import Tally
from routing.vocabulary import AttemptOutcome, FallbackReason, MessageStatus

NOTHING = "\N{EN DASH}"  # where there is no value


def figures(tally: Tally) -> dict[str, Any]:
    """A tally as endpoints and screens show it."""
    fallbacks = _by_name(FallbackReason, tally.fallbacks)
    p50, p95, p99 = tally.response_ms(0.5, 0.95, 0.99)
    return {
        "messages": _by_name(MessageStatus, tally.messages),
        "delivery_rate": _rounded(tally.delivery_rate, 4),
        "attempts": tally.attempts,
        "outcomes": _by_name(AttemptOutcome, tally.outcome),
        "success_rate": _rounded(tally.success_rate, 4),
        "retries": tally.retries,
        "fallbacks": {"total": sum(fallbacks.values())} | fallbacks,
        "late_results": tally.late_results,
        "response_time_ms": {
            "average": _rounded(tally.average_response_ms, 1),
            "p50": _rounded(p50, 1),
            "p95": _rounded(p95, 1),
            "p99": _rounded(p99, 1),
        },
        "costs": _costs(tally),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    """None, the rate of nothing, stays None: 0 would mean that all failed."""
    return None if value is None else round(value, digits)


def _by_name(terms: Any, count: Any) -> dict[str, int]:
    return {term.name.lower(): count(term) for term in terms}


def _costs(tally: Tally) -> list[dict[str, Any]]:
    delivered = tally.messages(MessageStatus.DELIVERED)
    return [
        {
            "currency": currency,
            "total": spending.total,
            "priced_attempts": spending.priced,
            "average_per_attempt": spending.average,
            "per_delivered_message": spending.per(delivered),
        }
        for currency, spending in tally.spending().items()
    ]


def percent(share: float | None, *, digits: int = 1) -> str:
    """A share as people read it."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def milliseconds(value: float | None) -> str:
    """A response time as people read it."""
    return NOTHING if value is None else f"{value:,.0f}"


def success_rate(tally: Tally) -> str:
    """The share of attempts that were accepted, as people read it."""
    return percent(tally.success_rate)


def delivery_rate(tally: Tally) -> str:
    """The share of settled messages that arrived, as people read it."""
    return percent(tally.delivery_rate)


def spending(tally: Tally) -> str:
    """What was spent, by currency, as people read it."""
    totals = [f"{each.total:,.2f} {name}" for name, each in tally.spending().items()]
    return ", ".join(totals) or NOTHING
