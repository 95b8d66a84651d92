"""The cost of a claim and a record does not grow with the number of messages."""

from __future__ import annotations

import re
from random import Random
from threading import Event

import pytest
from django.db import connection, transaction

from messaging.queue.claim import Claimer
from messaging.queue.completion import close_campaigns
from messaging.tests.scenario import (
    LEASE,
    NOW,
    PATIENCE,
    accepted,
    claim,
    messages,
    running,
    statements_of,
    write,
)
from routing.decision.planner import Planner
from routing.models import ProviderThrottle

pytestmark = pytest.mark.usefixtures("route")


def worker():
    """A worker's claimer, with what it remembers between claims."""
    return Claimer(owner=1, lease=LEASE, planner=Planner(rng=Random(0)))


def queries_of(work):
    """The number of statements that the work runs."""
    return len(statements_of(work))


def test_claiming_fifty_messages_takes_as_many_statements_as_claiming_one():
    messages(51)

    one = queries_of(lambda: worker().claim(limit=1, now=NOW))
    fifty = queries_of(lambda: worker().claim(limit=50, now=NOW))

    assert one == fifty


def test_recording_fifty_results_takes_as_many_statements_as_recording_one():
    messages(51)
    first, *others = claim(limit=51)

    one = queries_of(lambda: write(accepted(first)))
    fifty = queries_of(lambda: write(*map(accepted, others)))

    assert one == fifty


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("needs_a_server")
def test_a_worker_records_while_another_ones_record_is_not_committed():
    messages(2)
    [mine], [theirs] = claim(limit=1, owner=1), claim(limit=1, owner=2)
    written, recorded = Event(), Event()

    def write_and_linger():
        with transaction.atomic():
            write(accepted(theirs), owner=2)
            written.set()
            recorded.wait(PATIENCE)

    with running(write_and_linger), transaction.atomic():
        assert written.wait(PATIENCE)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '3s'")
        try:
            write(accepted(mine), owner=1)
        finally:
            recorded.set()


def test_a_worker_asks_for_breakers_and_throttles_a_few_times_a_second_only():
    messages(2)
    busy = worker()
    busy.claim(limit=1, now=NOW)

    statements = statements_of(lambda: busy.claim(limit=1, now=NOW))

    assert not [sql for sql, _ in statements if "routing_provider" in sql]


def test_due_messages_are_read_from_their_index_in_order(route):
    messages(3)
    statements = statements_of(lambda: worker().claim(limit=50, now=NOW))
    [locking] = [each for each in statements if "m.recipient" in each[0]]

    plan = plan_of(*locking)

    assert "message_due" in plan
    assert not re.search(r"sort|temp b-tree", plan, re.IGNORECASE), plan


def test_calls_under_way_are_counted_without_reading_what_waits_for_a_verdict(route):
    ProviderThrottle.objects.create(provider="TwilioSMS", max_concurrency=9)
    messages(3)
    statements = statements_of(lambda: worker().claim(limit=50, now=NOW))
    [counting] = [each for each in statements if "COUNT(DISTINCT" in each[0]]

    assert re.search(r"lease_expires_at *<", plan_of(*counting))


def test_whether_campaigns_are_finished_is_read_from_the_indexes(route):
    messages(3)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    for statement, parameters in statements_of(lambda: close_campaigns(now=NOW)):
        plan = plan_of(statement, parameters)
        assert "message_due" in plan
        assert ("message_leased" in plan) == ("lease_expires_at" in statement)
        assert not re.search("join|temp b-tree", plan, re.IGNORECASE), plan


def plan_of(statement, parameters):
    """The database's plan if it must not scan the whole table."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
        word = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
        cursor.execute(f"{word} {statement}", parameters)
        return "\n".join(str(row) for row in cursor.fetchall())
