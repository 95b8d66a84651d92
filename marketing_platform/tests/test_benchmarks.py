"""The benchmarks' own SQL fits the current tables, and their reports are right."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest
from django.conf import settings
from django.db import connection

from benchmarks import receipts, reference
from benchmarks.callers import Posted
from benchmarks.children import Failed, rows_of
from benchmarks.drain import drain
from benchmarks.intake import Taken
from benchmarks.results import Results
from benchmarks.rows import Row, as_line
from benchmarks.stage import queue, queue_campaigns
from messaging.models import CampaignMessage
from routing.factories import RouteFactory
from routing.models import MessageDeliveryAttempt
from routing.vocabulary import Channel, MessageStatus

ROOT = settings.BASE_DIR


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("channel", [Channel.SMS, Channel.EMAIL])
def test_a_backlog_is_as_long_as_was_asked_for(channel):
    campaign = queue(30, channel=channel)

    assert campaign.messages.values("recipient").distinct().count() == 30


@pytest.mark.django_db(transaction=True)
def test_a_backlog_of_many_campaigns_drains_to_its_end(settings):
    settings.MESSAGE_PROVIDERS = {
        "TwilioSMS": {"BACKEND": "routing.providers.memory.MemorySMS"}
    }
    RouteFactory()
    queue_campaigns(3, messages=30)

    assert drain() == 30
    assert CampaignMessage.objects.values("campaign").distinct().count() == 3
    assert not CampaignMessage.objects.exclude(status=MessageStatus.SENT).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("sqlite" in connection.vendor, reason="It speaks PostgreSQL only.")
def test_the_bare_reference_claims_and_records_what_is_due():
    campaign = queue(30)
    with connection.cursor() as cursor:
        cursor.execute(reference.CLAIM, [campaign.pk, 50])
        ids = [id_ for id_, _ in cursor.fetchall()]
        cursor.execute(reference.RECORD, [ids, [f"SM{id_}" for id_ in ids]])

    assert MessageDeliveryAttempt.objects.count() == len(ids) == 30
    assert not CampaignMessage.objects.exclude(status=MessageStatus.SENT).exists()


def test_receipts_have_rows_with_a_bare_application_beside_ours_and_without():
    fast, slow = (
        Taken(1000, Posted(seconds, {204: 1000}, [0.001]), cpu=1.0)
        for seconds in (1.0, 2.0)
    )

    alone = list(receipts.rows_of("TwilioSMS", [slow]))
    beside = list(receipts.rows_of("TwilioSMS", [slow], [fast, slow]))

    assert beside[: len(alone)] == alone
    assert (beside[-1].value, beside[-1].is_cleared) == (0.5, True)


FAST = Row("messages", 1234.5, "msg/s", bar=1000)
SLOW = Row("  beside the first", 2.5, "", bar=1.2, is_most=True)
PLAIN = Row("memory", 97.25, "MB")


def results_of(*rows, **failures):
    return Results({"cores": "2"}, {"fast (sqlite)": list(rows)}, failures)


def test_a_line_of_the_table_says_whether_the_bar_is_cleared():
    assert as_line(FAST).split() == ["messages", "1,234", "msg/s", ">=", "1000", "ok"]
    assert as_line(SLOW).endswith("<= 1.2 MISSED")
    assert as_line(PLAIN).endswith("97.25 MB")


def test_a_missed_bar_is_named_and_fails_the_run():
    results = results_of(FAST, SLOW, PLAIN)

    assert results.exit_status == 1
    assert results.summary().splitlines() == [
        "1 of 2 bars cleared",
        "  missed: fast (sqlite): beside the first",
    ]


def test_a_run_that_clears_its_bars_succeeds_and_one_that_broke_off_does_not():
    assert results_of(FAST, PLAIN).exit_status == 0
    assert results_of(FAST, slow="It ended with status 1.").exit_status == 1


def test_the_json_holds_every_row_and_what_was_missed_or_failed():
    results = results_of(FAST, SLOW, PLAIN, slow="It ended with status 1.")
    document = json.loads(json.dumps(results.as_document(), allow_nan=False))

    rows = document["results"]["fast (sqlite)"]
    assert [row["is_cleared"] for row in rows] == [True, False, None]
    assert document["missed"] == ["fast (sqlite): beside the first"]
    assert document["failures"] == {"slow": "It ended with status 1."}


def rows_of_python(code, *, limit=60.0):
    return rows_of([sys.executable, "-c", code], environment=os.environ, limit=limit)


def test_what_a_benchmark_tells_before_it_fails_is_kept():
    rows = rows_of_python(
        "from benchmarks.rows import Row\n"
        "Row('messages', 1234.5, 'msg/s', bar=1000).emit()\n"
        "raise SystemExit(3)"
    )

    assert next(rows) == FAST
    with pytest.raises(Failed, match="status 3"):
        next(rows)


def test_a_benchmark_that_hangs_is_ended():
    with pytest.raises(Failed, match="it took longer"):
        list(rows_of_python("import time; time.sleep(60)", limit=0.2))


def test_the_tests_that_the_documentation_names_exist():
    named = set(re.findall(r"test_\w+", (ROOT / "docs" / "benchmarks.md").read_text()))
    written = "".join(path.read_text() for path in ROOT.glob("*/**/tests/**/*.py"))

    assert named
    assert [name for name in named if f"def {name}(" not in written] == []
