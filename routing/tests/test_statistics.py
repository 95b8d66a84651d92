"""Statistics entries add up, even if added and compacted at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from django.db import connection

from routing.models import StatisticsEntry
from routing.rules.tally import Key, Tally, TallySheet
from routing.statistics.entries import compact_entries, read_totals, save_counts

MONDAY, TUESDAY = date(2025, 6, 2), date(2025, 6, 3)
TWILIO = Key(MONDAY, 0, "TwilioSMS")


def add(key=TWILIO, **counts):
    sheet = TallySheet()
    sheet.add(key, counts)
    save_counts(sheet)


def in_threads(count, work):
    """The results of `work` in several threads at once."""

    def run(_):
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.django_db
def test_the_entries_of_a_key_count_together():
    add(attempts=2)
    add(attempts=3, late=1)

    assert dict(read_totals().tallies()) == {TWILIO: Tally({"attempts": 5, "late": 1})}


@pytest.mark.django_db
def test_only_the_days_that_are_asked_for_count():
    add(attempts=2)
    add(TWILIO._replace(day=TUESDAY), attempts=3)

    assert [key.day for key, _ in read_totals(first=TUESDAY).tallies()] == [TUESDAY]
    assert [key.day for key, _ in read_totals(last=MONDAY).tallies()] == [MONDAY]


@pytest.mark.django_db
def test_folding_leaves_one_entry_per_key_and_changes_no_number():
    for provider in ("TwilioSMS", "VonageSMS", "TwilioSMS"):
        add(TWILIO._replace(provider=provider), attempts=1)
    before = dict(read_totals().tallies())
    compact_entries()
    add(attempts=4)

    assert compact_entries() == 1
    assert StatisticsEntry.objects.count() == 2
    assert dict(read_totals().tallies())[TWILIO].attempts == before[TWILIO].attempts + 4


@pytest.mark.django_db
def test_with_nothing_new_there_is_nothing_to_fold():
    add(attempts=1)
    compact_entries()

    assert compact_entries() == 0


@pytest.mark.django_db
def test_what_came_to_nothing_leaves_no_entry():
    add(attempts=1)
    add(attempts=-1)

    compact_entries()

    assert StatisticsEntry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="an in-memory SQLite database has one thread"
)
def test_workers_that_add_and_fold_at_once_lose_and_double_nothing():
    def work():
        for _ in range(20):
            add(attempts=1)
            compact_entries()

    in_threads(4, work)

    assert dict(read_totals().tallies())[TWILIO].attempts == 80
    add(attempts=1)
    compact_entries()
    assert StatisticsEntry.objects.count() == 1
