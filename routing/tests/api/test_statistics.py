"""The statistics: /api/routingconfig/stats/channel/{channel} and .../overall."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from routing.rules.period import Period
from routing.statistics.reports import statistics_report
from routing.tests.counted import happened, reached
from routing.vocabulary import AttemptOutcome, Channel, FallbackReason, MessageStatus

pytestmark = pytest.mark.django_db
OVERALL = "/api/routingconfig/stats/overall"
SMS = "/api/routingconfig/stats/channel/0"
JANUARY = {"startDate": "2026-01-01", "endDate": "2026-01-31"}


@pytest.fixture
def stats(api):
    """The report, as an administrator reads it."""
    reader = api("admin")
    return lambda path=SMS, **query: reader.get(path, query or JANUARY)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", [SMS, OVERALL])
def test_days_on_which_nothing_happened_have_zeros_and_no_rates(stats, path, slash):
    answer = stats(f"{path}{slash}")

    totals = answer.json()["totals"]
    assert answer.status_code == 200
    assert set(totals["messages"].values()) == {0}
    assert set(totals["outcomes"].values()) == {0}
    assert totals["successRate"] is totals["deliveryRate"] is None
    assert set(totals["responseTimeMs"].values()) == {None}
    assert totals["costs"] == answer.json()["byDay"] == []


def test_attempts_count_by_outcome_retry_and_fallback(stats):
    happened()
    happened(outcome=AttemptOutcome.REJECTED, is_retry=True)
    happened(fallback_reason=FallbackReason.RATE_LIMIT_EXCEEDED, provider="VonageSMS")

    totals = stats().json()["totals"]

    assert (totals["attempts"], totals["retries"]) == (3, 1)
    assert totals["outcomes"]["accepted"] == 2
    assert totals["successRate"] == 0.6667
    assert totals["fallbacks"]["rateLimitExceeded"] == 1
    assert totals["fallbacks"]["total"] == 1


def test_messages_count_by_status_and_make_the_delivery_rate(stats):
    reached(MessageStatus.QUEUED, provider="", times=10)
    reached(MessageStatus.DELIVERED, times=3)
    reached(MessageStatus.BOUNCED, times=1)
    reached(MessageStatus.FAILED, times=4)

    totals = stats().json()["totals"]

    assert totals["messages"]["queued"] == 10
    assert totals["messages"]["failed"] == 4
    assert totals["deliveryRate"] == 0.75


def test_costs_come_by_currency_with_their_averages(stats):
    happened()
    happened(cost=Decimal("0.02"))
    happened(cost=Decimal("0.07"), currency="EUR")
    happened(cost=None, currency="")
    reached(MessageStatus.DELIVERED, times=3)

    eur, usd = stats().json()["totals"]["costs"]

    assert (eur["currency"], eur["total"]) == ("EUR", "0.070000")
    assert usd == {
        "currency": "USD",
        "total": "0.030000",
        "pricedAttempts": 2,
        "averagePerAttempt": "0.015000",
        "perDeliveredMessage": "0.010000",
    }


def test_response_times_come_as_average_and_percentiles(stats):
    for milliseconds in (100, 100, 100, 900):
        happened(response_time_ms=milliseconds)

    times = stats().json()["totals"]["responseTimeMs"]

    assert times["average"] == 300
    assert times["p50"] == pytest.approx(100, rel=0.05)
    assert times["p99"] == pytest.approx(900, rel=0.05)


def test_each_side_adds_up_to_the_totals(stats):
    happened("2026-01-01")
    happened("2026-01-31", provider="VonageSMS")
    happened("2026-01-31", channel=Channel.EMAIL, provider="SMTPEmail")

    report = stats(OVERALL).json()

    assert report["totals"]["attempts"] == 3
    for side in ("byProvider", "byDay", "byChannel"):
        assert sum(each["attempts"] for each in report[side]) == 3
    assert [each["date"] for each in report["byDay"]] == ["2026-01-01", "2026-01-31"]
    assert [each["channel"] for each in report["byChannel"]] == [0, 2]


def test_a_channel_counts_only_its_own(stats):
    happened()
    happened(channel=Channel.EMAIL, provider="SMTPEmail")

    report = stats().json()

    assert (report["channel"], report["totals"]["attempts"]) == (0, 1)
    assert [each["provider"] for each in report["byProvider"]] == ["TwilioSMS"]
    assert "byChannel" not in report


@pytest.mark.parametrize("first", ["2026-01-02", "2026-01-02T23:59:59Z", "2026-01-02"])
@pytest.mark.parametrize("last", ["2026-01-03", "2026-01-04T01:00:00+02:00"])
def test_the_first_and_the_last_day_are_included(stats, first, last):
    for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"):
        happened(day)

    report = stats(startDate=first, endDate=last).json()

    assert [each["date"] for each in report["byDay"]] == ["2026-01-02", "2026-01-03"]
    assert (report["startDate"], report["endDate"]) == ("2026-01-02", "2026-01-03")


def test_without_days_it_is_about_the_last_thirty(stats, api):
    report = api("admin").get(SMS).json()

    today = datetime.now(UTC).date()
    assert date.fromisoformat(report["endDate"]) in (today, today - timedelta(days=1))
    last = date.fromisoformat(report["endDate"])
    assert date.fromisoformat(report["startDate"]) == last - timedelta(days=29)


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ({"startDate": ""}, "startDate", "invalid"),
        ({"startDate": "yesterday"}, "startDate", "invalid"),
        ({"startDate": "2026-02-30"}, "startDate", "invalid"),
        ({"endDate": "0001-01-01T00:00:00+14:00"}, "endDate", "invalid"),
        (
            {"startDate": "2026-01-02", "endDate": "2026-01-01"},
            "startDate",
            "after_end",
        ),
        ({"start_date": "2026-01-01"}, "start_date", "unknown"),
    ],
)
def test_days_that_make_no_sense_are_refused(stats, query, field, code):
    answer = stats(**query)

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["code"]) == (400, field, code)


@pytest.mark.parametrize("channel", ["3", "SMS", "-1"])
def test_a_channel_that_is_none_is_refused(stats, channel):
    answer = stats(f"/api/routingconfig/stats/channel/{channel}")

    assert answer.status_code == 400
    assert "0 (SMS), 1 (MMS), 2 (Email)" in answer.json()["detail"]


def test_a_year_is_read_from_what_was_counted_alone(django_assert_num_queries):
    for day in range(1, 29):
        happened(f"2026-02-{day:02}")

    with django_assert_num_queries(1):
        report = statistics_report(Period(date(2026, 1, 1), date(2026, 12, 31)))

    assert report.total.attempts == 28
    assert len(report.by_day) == 28
