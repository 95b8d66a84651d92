"""What workers do besides sending: apply receipts, and sweep every second or two.

The modules that do the work are entered only where there is some.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import TypeVar

from django.db import transaction
from django.db.models import Count
from django.db.models.functions import TruncMinute

from messaging.models import Campaign, CampaignMessage, KeptAnswer
from messaging.queue.completion import close_campaigns
from messaging.queue.gate import EXPIRED
from messaging.queue.quarantine import may_be_of_one_message
from messaging.queue.quiet_changes import QuietChanges
from messaging.queue.receipts import AT_ONCE, apply_receipts
from messaging.queue.recover import recover_attempts, recover_expired_leases
from messaging.transitions import BATCH, held, write
from routing.decision.planner import RoutingTable
from routing.decision.readiness import current_outages
from routing.health.delivery_rates import (
    OVERDUE_LOOKED_BACK,
    is_overdue_count_due,
    note_overdue_receipts,
)
from routing.models import DeliveryReceipt
from routing.receipts.inbox import is_receipt_waiting, oldest_received_at
from routing.receipts.webhook_counts import forget_old_counts
from routing.statistics.entries import compact_entries
from routing.statistics.minutes import forget_old_minutes
from routing.timer import Timer
from routing.vocabulary import Channel

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_FOR_RECEIPTS_EVERY = timedelta(milliseconds=100)
# After the last receipt, a worker expects more of them for this long: web processes do
# not wake it for each.
EXPECT_MORE_FOR = timedelta(seconds=1)
SWEEP_EVERY = timedelta(seconds=1)
IDLE_SWEEP_EVERY = timedelta(seconds=2)  # with nothing to send, chores are most of it
# Of the sweeps, those that also remove what is of no use any more: one in sixty, by
# chance, because many workers live for less.
FORGETS = 1 / 60
# Messages that an outage holds expire in their lanes, which have to be read for it.
EXPIRE_EVERY = timedelta(seconds=30)
RECEIPTS_LOOKED_BACK = timedelta(hours=1)  # by a worker that starts


# Chores of the layers above, added as the app starts. Each says how much it did; while
# one does something, an idle worker sweeps on.
further_chores: list[Callable[..., int]] = []


class ReceiptWork:
    """One worker's share of applying receipts."""

    def __init__(self) -> None:
        self._look = Timer(LOOK_FOR_RECEIPTS_EVERY, is_over=True)
        self._expect = Timer(EXPECT_MORE_FOR, is_over=True)
        self.has_more = False  # the last look found as many as it takes at once
        self.is_done = False  # the last look found none

    @property
    def expects_more(self) -> bool:
        """Whether some came lately."""
        return not self._expect.is_over()

    def run(self, *, now: datetime, is_woken: bool = False) -> int:
        """Apply some receipts, if it is time for a look; returns how many.

        Small batches cost more: what comes between two looks waits for the next one.
        """
        if not (self._look.comes_round() or is_woken or self.has_more):
            return 0
        # A look costs no transaction: on SQLite, nobody else could write meanwhile.
        applied = apply_receipts(now=now).done if is_receipt_waiting() else 0
        self.has_more = applied >= AT_ONCE
        self.is_done = not applied
        if applied:
            self._expect.restart()
        return applied


class Sweep:
    """One worker's chores. All workers do them; what one has done is done for all."""

    def __init__(
        self,
        *,
        lease: timedelta,
        verdict_wait: timedelta,
        routes: RoutingTable,
        rng: Random,
        now: datetime,
    ) -> None:
        self._lease = lease
        self._verdict_wait = verdict_wait
        self._routes = routes
        self._rng = rng
        self._receipts_seen_until = now - RECEIPTS_LOOKED_BACK
        self._quiet_changes = QuietChanges()
        self._timer = Timer(SWEEP_EVERY, is_over=True)
        self._idle_timer = Timer(IDLE_SWEEP_EVERY, is_over=True)
        self._expiry_timer = Timer(EXPIRE_EVERY, is_over=True)
        self.has_more = False  # the last run left a chore half done

    def is_due(self, *, is_idle: bool = False) -> bool:
        """Whether it is time for the next run; if so, the timer restarts.

        A worker with nothing to send continues a half-done chore at once.
        """
        timer = self._idle_timer if is_idle else self._timer
        return timer.comes_round() or (is_idle and self.has_more)

    def run(self, *, now: datetime) -> int:
        """Do all chores; returns how many messages were recovered.

        A chore that fails on some row holds up neither the other chores nor sending: it
        is logged, and tried again next time.
        """
        recovered = _do("recover_expired_leases", lambda: self._recover_leases(now))
        _do("recover_attempts", lambda: self._recover_attempts(now))
        _do("count_overdue_receipts", lambda: count_overdue_receipts(now=now))
        withdrawn = _do("close_campaigns", lambda: close_campaigns(now=now))
        waiting = _do("quiet_changes", lambda: self._quiet_changes.review(now=now))
        acted = [_do(each.__name__, partial(each, now=now)) for each in further_chores]
        self.has_more = (withdrawn or 0) >= BATCH or bool(waiting) or any(acted)
        _do("compact_entries", compact_entries)
        if self._rng.random() < FORGETS:
            _do("forget_answers", lambda: KeptAnswer.objects.stale(now).delete())
            _do("forget_old_counts", lambda: forget_old_counts(now=now))
            _do("forget_old_minutes", lambda: forget_old_minutes(now=now))
        if self._expiry_timer.comes_round():
            _do("expire_held", lambda: expire_held(now=now))
        return recovered or 0

    def _recover_leases(self, now: datetime) -> int:
        if not CampaignMessage.objects.lease_expired(now).exists():
            return 0
        return recover_expired_leases(
            routes=self._routes,
            verdict_wait=self._verdict_wait,
            now=now,
            rng=self._rng,
        )

    def _recover_attempts(self, now: datetime) -> None:
        """Stop before the oldest receipt that is not applied, so not on record, yet."""
        since, until = self._receipts_seen_until, now - self._lease
        came = DeliveryReceipt.objects.filter(
            received_at__gt=since, received_at__lte=until
        )
        if came.exists():
            until = min(until, oldest_received_at() or until)
            recover_attempts(since=since, until=until)
            self._receipts_seen_until = until


def _do(name: str, chore: Callable[[], T]) -> T | None:
    try:
        return chore()
    except Exception as error:
        if not may_be_of_one_message(error):
            raise
        logger.exception("The chore %s failed. Sending continues.", name)
        return None


def expire_held(*, now: datetime) -> int:
    """Expire messages that an outage holds in their lanes; returns how many. All others
    expire when they are claimed.
    """
    held_lanes = Campaign.objects.running().of_terms(current_outages(now=now))
    return sum(_expire_due(each, now) for each in held_lanes)


def _expire_due(lane: Campaign, now: datetime) -> int:
    due = lane.messages.due(now)
    if lane.expires_at is None or lane.expires_at > now:
        due = due.filter(expires_at__lte=now)
    with transaction.atomic():
        locked = due.select_for_update(skip_locked=True).order_by("due_at", "id")
        messages = [each for each in locked[:BATCH] if each.is_expired(now)]
        write((each, held(EXPIRED, now=now)) for each in messages)
    return len(messages)


# By then half the receipts have come; younger messages would only be noise.
GRACE = timedelta(seconds=10)


def count_overdue_receipts(*, now: datetime) -> None:
    """Count overdue receipts for the providers' delivery rates, now and then.

    The cost grows with the messages of the last hour that have no final receipt.
    """
    if not is_overdue_count_due(now=now):
        return
    rows = (
        CampaignMessage.objects.without_verdict(
            since=now - OVERDUE_LOOKED_BACK, until=now - GRACE
        )
        .order_by()
        .annotate(minute=TruncMinute("sent_at"))
        .values_list("provider", "channel", "country", "minute")
        .annotate(Count("id"))
    )
    note_overdue_receipts(
        (provider, Channel(channel), country, minute, count)
        for provider, channel, country, minute, count in rows
    )
