"""The reason of a message that is retried by the retry table, as stored and as shown.

It is stored without the time, so that messages that wait for the same reason are alike;
the time is the message's `due_at`.
"""

from __future__ import annotations

from datetime import datetime

from routing.text.moments import moment

_START = "Retrying ("


def retrying(note: str, reason: str) -> str:
    """The reason to store: "Retrying (handset off; 2 of 4): TwilioSMS 30003: ..."."""
    return f"{_START}{note}): {reason}" if reason else f"{_START}{note})"


def with_time(reason: str, *, due_at: datetime, now: datetime) -> str:
    """The reason to show: "Retrying 07:24 UTC (handset off; 2 of 4): ...".

    In the time zone of `due_at`, with the day if it is not that of `now`. Other reasons
    stay as they are.
    """
    if not reason.startswith(_START):
        return reason
    return f"Retrying {moment(due_at, now=now)} ({reason.removeprefix(_START)}"
