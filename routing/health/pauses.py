"""Providers paused, resumed and probed by people, each time with a reason.

Workers read pauses together with the providers' health, so they follow within a second.
A pause counts no failure, and calls that are under way end as usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import DateTimeField, Value

from routing.models import ProviderHealth, ProviderPause, ProviderThrottle
from routing.providers.registry import registry
from routing.rules.breaker import try_now
from routing.rules.pause import Pause, describe, longest_by_provider
from routing.signals import report


class ActRefused(Exception):
    """The provider is not in a state in which this can be done to it."""


@dataclass(frozen=True, slots=True)
class Why:
    """Who acts on a provider, when, and for which reason."""

    by: str
    reason: str
    now: datetime


def pauses_in_force(*, now: datetime) -> dict[str, Pause]:
    """The paused providers, by name."""
    return longest_by_provider(row.pause for row in ProviderPause.objects.in_force(now))


def read_limits(*, now: datetime) -> tuple[bool, dict[str, Pause]]:
    """Whether any provider has a throttle, and the paused providers.

    One query for both: each worker asks ten times a second.
    """
    no_time, nobody = Value(None, output_field=DateTimeField()), Value("")
    throttles = ProviderThrottle.objects.order_by().values_list(
        "provider", no_time, no_time, nobody, nobody
    )
    paused = ProviderPause.objects.in_force(now).order_by()
    rows = list(
        paused.values_list("provider", "since", "until", "reason", "by").union(
            throttles, all=True
        )
    )
    pauses = [Pause(*row) for row in rows if row[1] is not None]
    return len(pauses) < len(rows), longest_by_provider(pauses)


def pause_provider(
    name: str,
    why: Why,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ProviderPause:
    """Keep all messages away from a provider from now on, or in a window of time.

    Raises UnknownProvider, or ActRefused if it is paused at that time already.
    """
    registry.provider_class(name)
    since = max(since or why.now, why.now)
    if until is not None and until <= since:
        raise ActRefused("A pause must end in the future, after it begins.")
    with transaction.atomic():
        _refuse_twice(name, at=since, now=why.now)
        made = ProviderPause.objects.create(
            provider=name, since=since, until=until, reason=why.reason, by=why.by
        )
        state = ["in use", describe(made.pause, why.now)]
        report("pause", made, state=state, reason=why.reason)
    return made


def resume_provider(name: str, why: Why) -> list[ProviderPause]:
    """End the pause that is in force; if none is, call off those that are planned.

    Raises UnknownProvider, or ActRefused if it is not paused.
    """
    registry.provider_class(name)
    with transaction.atomic():
        rows = ProviderPause.objects.open(why.now).filter(provider=name)
        found = list(rows.select_for_update())
        ended = [each for each in found if each.pause.is_in_force(why.now)] or found
        if not ended:
            raise ActRefused(f"{name} is not paused.")
        for row in ended:
            state = [describe(row.pause, why.now), "resumed"]
            row.resumed_at, row.resumed_by = why.now, why.by
            row.resume_reason = why.reason
            row.save()
            report("resume", row, state=state, reason=why.reason)
    return ended


def probe_provider(name: str, why: Why) -> ProviderHealth:
    """Let the next message try a provider that is out of use, without waiting longer.

    Raises UnknownProvider, or ActRefused if it is in use, paused, or being tried.
    """
    channel = registry.provider_class(name).channel
    with transaction.atomic():
        if pause := pauses_in_force(now=why.now).get(name):
            raise ActRefused(f"{name} is {describe(pause, why.now)}. Resume it.")
        rows = ProviderHealth.objects.select_for_update()
        row = rows.filter(provider=name, channel=channel).first()
        if row is None or row.breaker.is_closed:
            raise ActRefused(f"{name} is in use: there is nothing to try.")
        due = try_now(row.breaker, why.now)
        if due is None:
            raise ActRefused(f"A message is trying {name} at the moment.")
        times = [row.open_until, due.open_until]
        row.save_breaker(due)
        report("probe", row, open_until=times, reason=why.reason)
    return row


def _refuse_twice(name: str, *, at: datetime, now: datetime) -> None:
    """A pause that begins later does not stand in the way of one that begins now."""
    for row in ProviderPause.objects.open(now).filter(provider=name):
        if row.pause.is_in_force(at):
            raise ActRefused(f"{name} is already {describe(row.pause, now)}.")
