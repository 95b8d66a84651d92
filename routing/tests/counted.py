"""Counts from before a test of the statistics begins."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from routing.rules.tally import Key, TallySheet, status_counts
from routing.statistics.entries import save_counts
from routing.vocabulary import AttemptOutcome, Channel


def happened(day="2026-01-02", *, channel=Channel.SMS, provider="TwilioSMS", **fields):
    """An attempt of that day was counted."""
    attempt = {
        "attempted_at": datetime.fromisoformat(f"{day}T12:00+00:00"),
        "channel": channel,
        "provider": provider,
        "outcome": AttemptOutcome.ACCEPTED,
        "is_late": False,
        "is_retry": False,
        "fallback_reason": None,
        "response_time_ms": 100,
        "cost": Decimal("0.01"),
        "currency": "USD",
    }
    sheet = TallySheet()
    sheet.count_attempt(attempt | fields)
    save_counts(sheet)


def reached(status, day="2026-01-02", *, provider="TwilioSMS", times=1, **facts):
    """Messages of that day reached a status."""
    sheet = TallySheet()
    key = Key(date.fromisoformat(day), Channel.SMS, provider)
    sheet.add(key, status_counts(status, **facts), times=times)
    save_counts(sheet)
