"""What queue tests share: an in-memory provider, a clock, and a worker's parts."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random

from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage
from messaging.queue.claim import Claimer
from messaging.queue.claimed import Result
from messaging.queue.record import record
from routing.decision.planner import Planner, RoutingTable
from routing.dispatch import SendResult
from routing.providers.base import Acceptance
from routing.rules.decide import Sent
from routing.vocabulary import MessageStatus

NOW = datetime(2025, 6, 2, 9, 0, tzinfo=UTC)
LEASE = timedelta(seconds=90)
MINUTE = timedelta(minutes=1)
PATIENCE = 10  # seconds, before a thread counts as stuck


def messages(count, *, campaign=None, **fields):
    """Queued messages of one campaign, due a minute ago by default."""
    campaign = campaign or CampaignFactory()
    fields = {"due_at": NOW - MINUTE} | fields
    return [MessageFactory(campaign=campaign, **fields) for _ in range(count)]


def unfinished():
    """The messages that are not finished."""
    return CampaignMessage.objects.filter(
        status__in=[MessageStatus.QUEUED, MessageStatus.SENDING]
    )


def claimer(owner=1):
    return Claimer(
        owner=owner,
        lease=LEASE,
        planner=Planner(rng=Random(0), routes=RoutingTable(max_age=timedelta(0))),
    )


def claim(*, limit=50, owner=1, now=NOW):
    """The messages that a worker claims."""
    return claimer(owner).claim(limit=limit, now=now).claimed


def accepted(claimed, *, external_id="SM1", at=NOW, cost=None):
    """The result of an accepted message."""
    done = SendResult(
        provider=claimed.decision.provider,
        attempted_at=at,
        response_time_ms=12,
        acceptance=Acceptance(external_id),
        cost=cost,
    )
    return Result(claimed, done, Sent())


def failed(claimed, failure, step, *, at=NOW):
    """The result of a failure, with the step that follows."""
    done = SendResult(
        provider=claimed.decision.provider,
        attempted_at=at,
        response_time_ms=12,
        failure=failure,
    )
    return Result(claimed, done, step)


def write(*results, owner=1, now=NOW):
    """Record results as the worker `owner`."""
    return record(
        results, owner=owner, lease=LEASE, planner=Planner(rng=Random(0)), now=now
    )


@contextmanager
def running(work):
    """Run in another thread, with its own connection."""

    def run():
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive()


def until_one_waits():
    """Return when another connection to this database waits for a lock."""
    waiting = "wait_event_type = 'Lock' AND datname = current_database()"
    until = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        while time.monotonic() < until:
            cursor.execute(f"SELECT 1 FROM pg_stat_activity WHERE {waiting}")
            if cursor.fetchone():
                return
            # Within a transaction, pg_stat_activity does not change.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
    raise AssertionError("Nobody waits for a lock.")


def run_machine(machine, *, examples):
    """Walk a state machine: the same `examples` each time, or as many new ones as the
    variable LIFE_EXAMPLES says.
    """
    wanted = int(os.environ.get("LIFE_EXAMPLES", "0"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=wanted or examples,
            stateful_step_count=30,
            derandomize=not wanted,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def statements_of(work):
    """The statements that the work runs, with their parameters.

    Without those that renew plans every few seconds.
    """
    seen = []

    def note(execute, statement, parameters, *others):
        seen.append((statement, parameters))
        return execute(statement, parameters, *others)

    with connection.execute_wrapper(note):
        work()
    return [each for each in seen if each[0] != "DISCARD PLANS"]
