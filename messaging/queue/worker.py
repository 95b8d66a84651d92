"""The queue processor: keeps a window of messages in flight until it is stopped.

One thread owns the database: it claims, records and recovers. The window's threads only
call providers, so that no connection is held while a provider works, and a batch does
not wait for its slowest message.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from messaging.queue.claim import Claimer
from messaging.queue.claimed import Claimed
from messaging.queue.completion import close_campaigns
from messaging.queue.coordination import DatabaseClock, Heartbeat, Waiter
from messaging.queue.hang_guard import HangGuard, StatementLimit
from messaging.queue.look_ups import LookUps
from messaging.queue.reach import Reach
from messaging.queue.results import Report, Results, within_room
from messaging.queue.sweep import ReceiptWork, Sweep
from messaging.queue.window import Window, calls_of
from messaging.transitions import BATCH
from messaging.vocabulary import WorkerKind
from routing.decision.planner import Planner, RoutingTable
from routing.dispatch import SendResult, longest_call
from routing.rules.decide import Retry
from routing.timer import Timer

logger = logging.getLogger(__name__)

RECORD_EVERY = timedelta(milliseconds=50)
CLAIM_EVERY = timedelta(milliseconds=50)  # while there is room for under half a batch
LOOK_EVERY = timedelta(milliseconds=100)  # after a claim that found nothing
HOLD_LOOK_EVERY = timedelta(seconds=1)  # after one that found only messages on hold
WAIT_AT_MOST = timedelta(milliseconds=500)  # for a wake-up
LOOK_UP_EVERY = timedelta(milliseconds=250)
PATIENCE = 0.9  # with a call, as a share of the lease: leaves time to record its end
RECONNECT_AFTER = 1.0  # seconds
# If the database fails for longer, the worker exits: its leases run out, and its
# supervisor starts a new one.
GIVE_UP_AFTER = timedelta(seconds=120)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a worker takes on; the defaults come from the settings."""

    batch_size: int = field(default_factory=lambda: settings.QUEUE_BATCH_SIZE)
    window: int = field(default_factory=lambda: settings.QUEUE_WINDOW)
    lease: timedelta = field(
        default_factory=lambda: timedelta(seconds=settings.QUEUE_LEASE_SECONDS)
    )
    verdict_wait: timedelta = field(
        default_factory=lambda: timedelta(seconds=settings.QUEUE_VERDICT_SECONDS)
    )
    max_messages: int | None = None  # the most to claim in all
    hang_after: timedelta = timedelta(0)  # then the process ends; 0: never


def problem_with_lease() -> str:
    """Why QUEUE_LEASE_SECONDS would have messages sent twice; "" if it would not."""
    lease, longest = settings.QUEUE_LEASE_SECONDS, longest_call().total_seconds()
    if lease > longest:
        return ""
    return (
        f"QUEUE_LEASE_SECONDS is {lease}, but a provider may take {longest:g} s: "
        "messages would be taken for lost while they are being sent, and be sent "
        f"twice. Set it to more than {2 * longest:g}, or lower "
        "PROVIDER_TIMEOUT_SECONDS."
    )


class Processor:
    """Drains the queue: once, for a while, or until stopped."""

    def __init__(
        self,
        *,
        kind: WorkerKind,
        limits: Limits | None = None,
        idle_limit: timedelta | None = None,
        budget: timedelta | None = None,
        clock: Callable[[], datetime] | None = None,
        rng: Random | None = None,
    ) -> None:
        """Without `idle_limit` it stays for ever; after `budget` it claims no more.

        It uses the database's time unless `clock` is given.
        """
        self.report = Report()
        self._limits = limits or Limits()
        self._database_clock = DatabaseClock()
        self._clock = clock or self._database_clock
        self._rng = rng or Random()  # noqa: S311 - jitter, not a secret
        self._owner = secrets.randbits(62)
        self._routes = RoutingTable()
        self._planner = Planner(rng=self._rng, routes=self._routes)
        self._claimer = Claimer(
            owner=self._owner, lease=self._limits.lease, planner=self._planner
        )
        self.results = Results(
            owner=self._owner,
            lease=self._limits.lease,
            verdict_wait=self._limits.verdict_wait,
            planner=self._planner,
            clock=self._clock,
        )
        self._heartbeat = Heartbeat(owner=self._owner, kind=kind, clock=self._clock)
        self._window = Window(
            size=self._limits.window,
            clock=self._clock,
            patience=self._limits.lease * PATIENCE,
        )
        self._reach = Reach()
        self._look_ups = LookUps(
            owner=self._owner,
            lease=self._limits.lease,
            verdict_wait=self._limits.verdict_wait,
            routes=self._routes,
        )
        self._receipts = ReceiptWork()
        self._waiter = Waiter()
        self._guard = HangGuard(self._limits.hang_after)
        self._statement_limit = StatementLimit()
        self._unrecorded: list[tuple[Claimed, SendResult]] = []
        self._is_stopping = self._is_woken = False
        # Nothing is due that may leave; an outage holds what is due.
        self._is_idle = self._is_on_hold = False
        # Whether the last claim found nothing that may leave; whether it was full.
        self._has_looked = self._has_more = False
        self._claim_timer = Timer(CLAIM_EVERY, is_over=True)
        self._look_timer = Timer(LOOK_EVERY, is_over=True)
        self._record_timer = Timer(RECORD_EVERY)
        self._sweeper = Sweep(
            lease=self._limits.lease,
            verdict_wait=self._limits.verdict_wait,
            routes=self._routes,
            rng=self._rng,
            now=self._clock(),
        )
        self._look_up_timer = Timer(LOOK_UP_EVERY, is_over=True)
        self._idle_timer = None if idle_limit is None else Timer(idle_limit)
        self._budget_timer = None if budget is None else Timer(budget)

    def stop(self) -> None:
        """Claim no more; `run` returns when everything in flight is recorded."""
        self._is_stopping = True
        self._guard.hurry()

    def run(self) -> Report:
        """Send until there is nothing left to do, or until stopped."""
        self._guard.start()
        try:
            self._turn_round()
            self._window.close()
            self._heartbeat.end()
            self._apply_last_receipts()
            self._close_campaigns()
            self._statement_limit.lift()
        finally:
            self._guard.stop()
        return self.report

    def _turn_round(self) -> None:
        patience = Timer(GIVE_UP_AFTER)
        while not self._is_done():
            self._guard.beat()
            try:
                self._turn()
                patience.restart()
            except (DatabaseError, InterfaceError):
                if patience.is_over():
                    raise
                logger.exception("The database failed; trying again.")
                self._reconnect()

    def _apply_last_receipts(self) -> None:
        """Apply receipts skipped so far because other workers held their messages."""
        self._is_woken = True
        while not self._is_stopping and self._apply_receipts():
            self._guard.beat()
            self._is_woken = True

    def _close_campaigns(self) -> None:
        """Close campaigns once more, including those cancelled just now. A worker that
        ends when all is done leaves no batch behind; one that is stopped just leaves.
        """
        is_hasty = self._budget_timer is not None or self._idle_timer is None
        while close_campaigns(now=self._clock(), grace=timedelta(0)) >= BATCH:
            self._guard.beat()
            if self._is_stopping or is_hasty:
                return

    def _turn(self) -> None:
        """One pass. Results are written before the sweep: after a long outage of the
        database, this worker's own leases may have run out.
        """
        self._statement_limit.set()
        self._database_clock.sync()
        self._heartbeat.beat(
            in_flight=self._window.messages,
            clock_skew=self._database_clock.skew,
            trouble=self._reach.trouble,
        )
        self._collect()
        self._record()
        self._apply_receipts()
        self._look_up()
        self._sweep()
        self._claim()

    def _is_done(self) -> bool:
        if self._window.in_flight or self._unrecorded or self._look_ups.in_flight:
            return False
        if not self._wants_more():
            return True
        is_idle = self._is_idle or (self._reach.is_aside and not self._budget_timer)
        is_idle = is_idle and self._receipts.is_done and not self._has_chores()
        return is_idle and bool(self._idle_timer and self._idle_timer.is_over())

    def _wants_more(self) -> bool:
        if self._budget_timer and self._budget_timer.is_over():
            self._is_stopping = True
        return not self._is_stopping and self._allowance() > 0

    def _allowance(self) -> int:
        """How many messages may be claimed now."""
        # A failure that is not recorded yet may turn into a fallback.
        failures = sum(done.failure is not None for _, done in self._unrecorded)
        at_once = 1 if self._reach.trouble else self._limits.batch_size
        room = min(self._window.room - failures, at_once)
        if self._limits.max_messages is None:
            return room
        return min(room, self._limits.max_messages - self.report.claimed)

    def _sweep(self) -> None:
        if not self._unrecorded and self._sweeper.is_due(is_idle=self._is_idle):
            self.report.recovered += self._sweeper.run(now=self._clock())

    def _has_chores(self) -> bool:
        """Whether a chore besides sending was left half done."""
        return self._sweeper.has_more or self._receipts.has_more

    def _apply_receipts(self) -> int:
        """Apply one batch at a time, so that neither receipts nor sending wait long."""
        applied = self._receipts.run(now=self._clock(), is_woken=self._is_woken)
        self.report.receipts += applied
        self._is_woken = False
        if applied and self._idle_timer:
            self._idle_timer.restart()
        return applied

    def _look_up(self) -> None:
        """Ask about unknown outcomes; continue with messages that were not sent."""
        if not (self._look_up_timer.comes_round() or self._look_ups.have_news):
            return
        certain = self._look_ups.finish(now=self._clock())
        for claimed in self.results.resume(self.results.decide(certain)):
            self._window.start(claimed)
        # What was not sent goes on at once, beside a full window, but not without end.
        is_crowded = self._window.room <= -self._window.size
        if not (self._is_stopping or is_crowded):
            self._look_ups.begin(now=self._clock())

    def _claim(self) -> None:
        """Claim the messages that can start now, and start them."""
        allowance = self._allowance()
        if not self._may_claim(allowance):
            return
        claim = self._claimer.claim(limit=allowance, now=self._clock())
        self.report.claimed += len(claim.claimed)
        self.report.count_ended(claim.ended)
        for call in calls_of(claim.claimed):
            self._window.start(*call)
        self._is_idle = not claim.seen and not claim.is_held_back
        self._has_looked = not claim.seen
        self._has_more = claim.seen >= allowance
        self._claim_timer.restart()
        self._is_on_hold = claim.is_on_hold and not claim.seen
        self._look_timer = Timer(HOLD_LOOK_EVERY if self._is_on_hold else LOOK_EVERY)
        if claim.seen and self._idle_timer:
            self._idle_timer.restart()

    def _may_claim(self, allowance: int) -> bool:
        """Whether a claim is worth its transaction now."""
        if not self._wants_more() or allowance <= 0 or self._reach.is_aside:
            return False
        if self._is_idle:
            return self._look_timer.is_over()
        is_half_a_batch = 2 * allowance >= min(
            self._limits.batch_size, self._limits.window
        )
        return is_half_a_batch or self._claim_timer.is_over()

    def _collect(self) -> None:
        """Collect results; with nothing in flight, wait to be woken."""
        if self._window.in_flight:
            # A shared call leaves room for more: do not wait if a claim may start now.
            is_busy = self._has_more and self._may_claim(self._allowance())
            self._unrecorded += self._window.finished(
                wait=0 if is_busy else RECORD_EVERY.total_seconds(),
                at_most=self._window.size,
            )
        elif (
            (self._has_looked or self._is_stopping or self._reach.is_aside)
            and not self._unrecorded
            and not (self._is_idle and self._has_chores())
            and not self._is_done()
        ):
            # Once woken, it polls at once: the next wake-up may be long in coming.
            self._is_woken = self._waiter.wait(self._longest_wait())
            self._is_idle &= not self._is_woken

    def _longest_wait(self) -> timedelta:
        expects_news = self._receipts.expects_more or self._look_ups.in_flight
        if expects_news or not self._is_idle:
            return CLAIM_EVERY
        return HOLD_LOOK_EVERY if self._is_on_hold else WAIT_AT_MOST

    def _record(self) -> None:
        """Write results once there are enough, or once the first has waited a while.

        Results stay in memory until they are written, whatever fails here.
        """
        is_full = len(self._unrecorded) >= self._limits.batch_size
        if not self._unrecorded or not (is_full or self._record_timer.is_over()):
            return
        now = self._clock()
        results = within_room(
            self.results.judge(self._reach.heed(self._unrecorded, now=now)),
            room=self._window.size - self._window.in_flight,
            now=now,
        )
        fallbacks = self.results.write(results)
        self._unrecorded = []
        self._record_timer.restart()
        for result in results:
            self.report.count(result)
            if isinstance(result.step, Retry) and result.step.due_at <= self._clock():
                self._is_idle = False
        for claimed in fallbacks:
            self._window.start(claimed)

    def _reconnect(self) -> None:
        """Open a new connection. Results may be written twice, which is harmless."""
        connection.close()
        time.sleep(RECONNECT_AFTER)
