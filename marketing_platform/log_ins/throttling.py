"""Limits password guesses per address, and per user from an address.

Not per user alone: otherwise anyone who knows a name could lock its owner out for ever.
A turn is taken before the password is checked, so that simultaneous guesses count too;
success gives the user's turns back.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from marketing_platform.client_address import network_of
from marketing_platform.log_ins.models import LogInThrottle
from routing.rules import throttle as gcra

PER_USER = (1 / 120, 5.0)  # guesses per second, and at once after an idle time
PER_ADDRESS = (1 / 20, 30.0)
CLEARED_AT_ONCE = 100  # rows that no longer limit anything


class Turn(NamedTuple):
    """Whether a guess may be made."""

    wait: timedelta  # 0: now
    is_news: bool = False  # whether it is the first that must wait


def take_turn(*, username: str, address: str, now: datetime) -> Turn:
    """Count a guess, unless there were too many."""
    limits = {_key("", address): PER_ADDRESS, _key(username, address): PER_USER}
    with transaction.atomic():
        _forget(now)
        rows = {key: _locked(key, now) for key in sorted(limits)}
        tried = [
            gcra.Throttle(*limits[key], None if row.tat <= now else row.tat)
            for key, row in rows.items()
        ]
        wait = max(gcra.wait_for(each, 1, now) for each in tried)
        if wait:
            return Turn(wait, _block([*rows.values()]))
        for row, throttle in zip(rows.values(), tried, strict=True):
            after = gcra.take(throttle, 1, now)
            row.tat, row.is_blocked = (after and after.tat) or now, False
            row.save(update_fields=["tat", "is_blocked"])
    return Turn(timedelta(0))


def give_back(*, username: str, address: str) -> None:
    """Give back the user's turns, after the right password."""
    LogInThrottle.objects.filter(key=_key(username, address)).delete()


def _locked(key: str, now: datetime) -> LogInThrottle:
    rows = LogInThrottle.objects.select_for_update(no_key=True)
    return rows.get_or_create(key=key, defaults={"tat": now})[0]


def _block(rows: list[LogInThrottle]) -> bool:
    """Note that guesses are blocked; whether that is new."""
    known = any(row.is_blocked for row in rows)
    ids = [row.pk for row in rows]
    LogInThrottle.objects.filter(pk__in=ids).update(is_blocked=True)
    return not known


def _forget(now: datetime) -> None:
    """Delete rows whose turns have all come back: any caller can cause new rows."""
    old = LogInThrottle.objects.filter(tat__lt=now).order_by("tat")
    free = old.select_for_update(skip_locked=True)
    ids = list(free.values_list("pk", flat=True)[:CLEARED_AT_ONCE])
    LogInThrottle.objects.filter(pk__in=ids).delete()


def _key(username: str, address: str) -> str:
    text = f"{username.casefold()}\n{network_of(address)}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
