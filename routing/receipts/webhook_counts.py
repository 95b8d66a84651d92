"""Webhook calls, counted by provider and outcome: also, and most of all, the refused.

Counted in the process and written at most once a second, so that calls neither wait for
each other's row nor pay for it. A process that is killed loses the last second.
"""

from __future__ import annotations

import atexit
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, connection, transaction

from routing.models import WebhookCount
from routing.timer import Timer
from routing.vocabulary import WebhookOutcome

logger = logging.getLogger(__name__)

KEPT = timedelta(days=30)
SAVE_EVERY = timedelta(seconds=1)
SAY_EVERY = timedelta(minutes=1)
# Those that concern nobody, and are not logged one by one.
QUIET = {WebhookOutcome.ACCEPTED, WebhookOutcome.INBOUND, WebhookOutcome.UNMATCHED}
_ADD = """
INSERT INTO routing_webhookcount
    (hour, provider, outcome, calls, last_at, last_detail)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (hour, provider, outcome) DO UPDATE SET
    calls = routing_webhookcount.calls + excluded.calls,
    last_at = excluded.last_at,
    last_detail = excluded.last_detail
"""


class Kind(NamedTuple):
    """What is counted together."""

    provider: str  # "" for a name that no provider has
    outcome: WebhookOutcome


@dataclass(slots=True)
class _Pending:
    calls: int
    last_at: datetime
    detail: str


class _Voice:
    """Says a thing once, then at most once a minute, with how often it happened."""

    def __init__(self) -> None:
        self._timer = Timer(SAY_EVERY, is_over=True)
        self._unsaid = 0

    def say(self, kind: Kind, detail: str) -> None:
        if not self._timer.comes_round():
            self._unsaid += 1
            return
        logger.warning(
            "A webhook call of %s: %s. %s (%d more since the last such line)",
            kind.provider or "an unknown provider",
            kind.outcome.label.lower(),
            detail,
            self._unsaid,
        )
        self._unsaid = 0


class WebhookCounter:
    """The calls of this process that are not written yet. For any number of threads."""

    def __init__(self, save_every: timedelta = SAVE_EVERY) -> None:
        self.save_every = save_every
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Drop what is not written yet."""
        self._pending: dict[tuple[datetime, Kind], _Pending] = {}
        self._voices: dict[Kind, _Voice] = {}
        self._timer = Timer(self.save_every, is_over=True)
        self._tail: threading.Timer | None = None

    def count(
        self, provider: str, outcome: WebhookOutcome, *, detail: str = "", now: datetime
    ) -> None:
        """Count a call. Not within a transaction: now and then it writes."""
        kind = Kind(provider, outcome)
        self._add({(_hour_of(now), kind): _Pending(1, now, _one_line(detail))})
        if outcome not in QUIET:
            self._voices.setdefault(kind, _Voice()).say(kind, _one_line(detail))
        if self._timer.comes_round():
            self.save()
        else:
            self._save_soon()

    def save(self) -> None:
        """Write what was counted; what cannot be written stays for the next time."""
        with self._lock:
            pending, self._pending = self._pending, {}
        if not pending:
            return
        try:
            _write(pending)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Webhook calls cannot be counted now: %s", error)
            self._add(pending)

    def _add(self, counted: dict[tuple[datetime, Kind], _Pending]) -> None:
        with self._lock:
            for key, more in counted.items():
                known = self._pending.setdefault(key, _Pending(0, more.last_at, ""))
                known.calls += more.calls
                known.last_at, known.detail = more.last_at, more.detail

    def _save_soon(self) -> None:
        """The last calls of all are written, too."""
        with self._lock:
            if self._tail is not None and self._tail.is_alive():
                return
            seconds = self.save_every.total_seconds()
            self._tail = threading.Timer(seconds, self._save_alone)
            self._tail.daemon = True
            self._tail.start()

    def _save_alone(self) -> None:
        try:
            self.save()
        finally:
            connection.close()  # of this thread, which ends


counter = WebhookCounter()
atexit.register(counter.save)


class Calls(NamedTuple):
    """The calls of one kind within a time."""

    kind: Kind
    calls: int
    last_at: datetime
    last_detail: str


def webhook_calls(*, since: datetime) -> list[Calls]:
    """What was counted since the hour of a moment, in all processes."""
    counter.save()
    rows = WebhookCount.objects.filter(hour__gte=_hour_of(since))
    found: dict[Kind, Calls] = {}
    for row in rows.order_by("last_at"):
        kind = Kind(row.provider, WebhookOutcome(row.outcome))
        before = found[kind].calls if kind in found else 0
        found[kind] = Calls(kind, before + row.calls, row.last_at, row.last_detail)
    return [found[kind] for kind in sorted(found)]


def forget_old_counts(*, now: datetime) -> None:
    """Clear away what is of no use any more."""
    WebhookCount.objects.filter(hour__lt=now - KEPT).delete()


def _write(pending: dict[tuple[datetime, Kind], _Pending]) -> None:
    """In one order for all processes, so that two never wait for each other."""
    as_written = connection.ops.adapt_datetimefield_value
    rows = [
        (
            as_written(hour),
            kind.provider,
            kind.outcome.value,
            each.calls,
            as_written(each.last_at),
            each.detail,
        )
        for (hour, kind), each in sorted(pending.items(), key=itemgetter(0))
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(_ADD, rows)


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _one_line(text: str) -> str:
    """Printable, and short enough for the column."""
    return "".join(each if each.isprintable() else " " for each in text)[:200]
