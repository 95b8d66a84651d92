"""The scopes of API tokens, and their expiry."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from routing.vocabulary import ChoiceEnum

_DAYS = re.compile(r"([1-9][0-9]{0,4})d")


class TokenScope(ChoiceEnum):
    """What a token may do. A version that does not know a scope compares the numbers,
    so a scope that allows less must be lower.
    """

    READ = 0  # read messages, campaigns and attempts
    SEND = 1  # send, cancel and launch
    ADMIN = 2  # change routes, and everything else
    MONITOR = -1  # read metrics and statistics: numbers only, no messages


_INCLUDED: dict[int, frozenset[TokenScope]] = {
    TokenScope.READ: frozenset({TokenScope.READ}),
    TokenScope.SEND: frozenset({TokenScope.READ, TokenScope.SEND}),
    TokenScope.ADMIN: frozenset(TokenScope),
    TokenScope.MONITOR: frozenset({TokenScope.MONITOR}),
}


def scopes_within(scope: int) -> frozenset[TokenScope]:
    """The scopes that it includes; none if this version does not know it."""
    return _INCLUDED.get(scope, frozenset())


class UnreadableExpiry(ValueError):
    """An expiry is a number of days such as 90d, a date or date-time, or never."""


def read_expiry(text: str, *, now: datetime) -> datetime | None:
    """When a token issued now ends; None if never.

    Raises UnreadableExpiry. A date means its midnight in the installation's time zone.
    """
    if text == "never":
        return None
    if days := _DAYS.fullmatch(text):
        return now + timedelta(days=int(days[1]))
    try:
        moment = parse_datetime(text)
    except ValueError:  # well formed, but no such day
        moment = None
    if moment is None:
        raise UnreadableExpiry(
            f"{text!r} is not an expiry: give days such as 90d, a date such as "
            "2027-01-31, or never."
        )
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
