"""The clock that leases go by, the database's, and heartbeats."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from messaging.models import WorkerHeartbeat
from messaging.queue.coordination import (
    DatabaseClock,
    Heartbeat,
    clock_skew,
    database_now,
)
from messaging.tests.scenario import MINUTE, NOW
from messaging.vocabulary import WorkerKind

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class Hands:
    """Clocks set by hand: monotonic seconds, and dates."""

    def __init__(self, *, database=NOW, host=NOW):
        self.database, self.host, self.seconds = database, host, 0.0

    def clock(self):
        return DatabaseClock(
            read=lambda: self.database,
            host=lambda: self.host,
            monotonic=lambda: self.seconds,
        )


def test_a_clock_shows_the_databases_time_whatever_the_host_thinks():
    hands = Hands(host=NOW + HOUR)
    clock = hands.clock()

    clock.sync()

    assert clock() == NOW
    assert clock.skew == HOUR


def test_between_two_readings_a_jump_of_the_host_moves_nothing():
    hands = Hands()
    clock = hands.clock()
    clock.sync()

    hands.seconds, hands.host = 1.0, NOW - HOUR

    assert clock() == NOW + SECOND


def test_the_database_is_not_asked_each_time():
    hands = Hands()
    clock = hands.clock()
    clock.sync()
    hands.database = NOW + MINUTE

    clock.sync()

    assert clock() == NOW


def test_a_clock_that_has_read_nothing_yet_shows_the_hosts_time():
    assert Hands(host=NOW + MINUTE).clock()() == NOW + MINUTE


def test_half_the_time_of_a_slow_reading_is_allowed_for():
    hands = Hands()
    clock = DatabaseClock(
        read=lambda: setattr(hands, "seconds", 2.0) or NOW,
        host=lambda: NOW,
        monotonic=lambda: hands.seconds,
    )

    clock.sync()

    assert clock() == NOW + SECOND


@pytest.mark.django_db
def test_the_database_of_this_machine_agrees_with_it():
    assert abs(database_now() - timezone.now()) < MINUTE
    assert abs(clock_skew()) < MINUTE


@pytest.mark.django_db
def test_the_database_is_not_stuck_at_the_start_of_a_transaction():
    if connection.vendor != "postgresql":
        pytest.skip("Only a server has a time of its own.")

    assert database_now() < database_now()


@pytest.mark.django_db
def test_a_heartbeat_says_how_wrong_its_host_is():
    heartbeat = Heartbeat(owner=1, kind=WorkerKind.COMMAND, clock=lambda: NOW)

    heartbeat.beat(in_flight=0, clock_skew=-HOUR)

    assert WorkerHeartbeat.objects.get().clock_skew == -HOUR


@pytest.mark.django_db
def test_a_heartbeat_takes_one_statement_and_comes_back_if_its_row_is_gone(
    django_assert_num_queries,
):
    def heartbeat():
        timed = Heartbeat(owner=1, kind=WorkerKind.COMMAND, clock=lambda: NOW)
        timed.beat(in_flight=3, clock_skew=timedelta(0))

    heartbeat()
    with django_assert_num_queries(1):
        heartbeat()
    WorkerHeartbeat.objects.all().delete()
    heartbeat()

    assert WorkerHeartbeat.objects.get().in_flight == 3
