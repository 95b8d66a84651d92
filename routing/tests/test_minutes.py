"""What is counted minute by minute, and read by the front page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from routing.models import MinuteCount, StatisticsEntry
from routing.rules.tally import TallySheet
from routing.statistics.entries import (
    compact_entries,
    read_totals,
    save_corrections,
)
from routing.statistics.minutes import (
    KEPT,
    MINUTE,
    Counts,
    Place,
    counts_by_minute,
    forget_old_minutes,
    total_counts,
)
from routing.tests.counted import happened, reached
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

pytestmark = pytest.mark.django_db
TWILIO = Place(Channel.SMS, "TwilioSMS")
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def at(moment):
    """What was counted since the last compaction was counted then."""
    StatisticsEntry.objects.filter(is_folded=False).update(counted_at=moment)
    compact_entries()


def seen(since, until):
    return total_counts(since=since, until=until)


def test_attempts_and_messages_are_counted_in_their_minute():
    happened()
    happened(outcome=AttemptOutcome.UNKNOWN)
    at(NOON + timedelta(seconds=59))
    reached(MessageStatus.DELIVERED, times=2)
    reached(MessageStatus.BOUNCED)
    at(NOON + MINUTE)

    assert counts_by_minute(since=NOON, until=NOON + 2 * MINUTE) == {
        TWILIO: {
            NOON: Counts(attempts=2, accepted=1, unknown=1),
            NOON + MINUTE: Counts(delivered=2, failed=1),
        }
    }
    assert seen(NOON, NOON + 2 * MINUTE).not_accepted == 1
    assert seen(NOON + MINUTE, NOON + 2 * MINUTE) == Counts(delivered=2, failed=1)


def test_what_is_compacted_later_adds_up_in_one_row():
    for _ in range(3):
        happened()
        at(NOON)

    assert seen(NOON, NOON + MINUTE) == Counts(attempts=3, accepted=3)
    assert MinuteCount.objects.count() == 1


def test_the_clock_of_the_database_tells_the_minute():
    before = timezone.now().replace(second=0, microsecond=0)
    happened()

    compact_entries()

    assert seen(before, before + 2 * MINUTE) == Counts(1, 1)


def test_corrections_of_the_past_are_of_no_minute():
    sheet = TallySheet()
    sheet.count({"attempts": 9}, at=NOON, channel=1, provider="TwilioSMS")
    save_corrections(sheet)

    compact_entries()

    assert not MinuteCount.objects.exists()
    ((_, tally),) = read_totals().tallies()
    assert tally.attempts == 9


def test_old_minutes_are_cleared_away():
    now = timezone.now()
    happened()
    at(now - KEPT - MINUTE)
    happened()
    at(now)

    forget_old_minutes(now=now)

    assert MinuteCount.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="has one writer at a time")
def test_workers_that_compact_at_once_neither_wait_nor_lose_a_count():
    happened()
    at(NOON)
    happened()
    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        assert MinuteCount.objects.select_for_update().get().attempts == 1
        pool.submit(at_and_disconnect, NOON).result(timeout=10)

    assert seen(NOON, NOON + MINUTE) == Counts(attempts=2, accepted=2)


def at_and_disconnect(moment):
    at(moment)
    connection.close()
