"""The statistics page of the back office."""

from __future__ import annotations

import csv
from io import StringIO

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from messaging.factories import MessageFactory
from routing.admin.statistics_tables import COLUMNS, as_csv, cells, flat
from routing.factories import AttemptFactory
from routing.rules.figures import NOTHING, figures
from routing.rules.tally import Tally
from routing.tests.counted import happened, reached
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ErrorClass,
    FallbackReason,
    MessageStatus,
)

pytestmark = pytest.mark.django_db
JANUARY = {"start": "2026-01-01", "end": "2026-01-31"}


@pytest.fixture
def show(admin_client):
    """The page for a query, as an administrator sees it."""
    address = reverse("admin:routing_statisticsentry_changelist")
    return lambda **query: admin_client.get(address, JANUARY | query)


@pytest.fixture
def busy_month():
    """Two channels, two providers, two days."""
    happened(outcome=AttemptOutcome.REJECTED)
    happened(fallback_reason=FallbackReason.PRIMARY_FAILED, provider="VonageSMS")
    happened("2026-01-05", channel=Channel.EMAIL, provider="SMTPEmail", currency="EUR")
    reached(MessageStatus.DELIVERED, provider="VonageSMS", times=3)
    reached(MessageStatus.BOUNCED, provider="VonageSMS")


def rows(response, side):
    """The lines of one table, by their labels."""
    return {
        row.label: row.cells
        for each, _, lines in response.context["tables"]
        for row in lines
        if each == side
    }


def downloaded(response):
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(response.text)))


def test_an_outage_of_now_stands_beside_the_share_of_the_day(show):
    today = f"{timezone.now():%Y-%m-%d}"
    happened(today)
    AttemptFactory(
        message=MessageFactory(),
        attempted_at=timezone.now(),
        outcome=AttemptOutcome.REJECTED,
        error_class=ErrorClass.PROVIDER,
    )

    assert "in the last 15 minutes 0 of 1 (0.0 %)" in show(end=today).text
    others = show(end=today, provider="VonageSMS")
    assert others.context["accepted_lately"] == "no attempts"
    assert "in the last 15 minutes" not in show().text


def test_its_numbers_are_those_of_the_api(show, api, busy_month):
    period = {"startDate": JANUARY["start"], "endDate": JANUARY["end"]}
    told = api("admin").get("/api/routingconfig/stats/overall", period).json()

    page = show()

    total = page.context["total"]
    assert total["attempts"] == told["totals"]["attempts"] == 3
    assert total["messages"] == told["totals"]["messages"] | {"sending": 0}
    assert total["success_rate"] == told["totals"]["successRate"]
    assert total["delivery_rate"] == told["totals"]["deliveryRate"] == 0.75
    assert list(rows(page, "provider")) == [p["provider"] for p in told["byProvider"]]
    assert sorted(rows(page, "day")) == [day["date"] for day in told["byDay"]]


@pytest.mark.parametrize(
    ("query", "attempts"),
    [
        ({}, 3),
        ({"channel": "2"}, 1),
        ({"provider": "VonageSMS"}, 1),
        ({"channel": "2", "provider": "VonageSMS"}, 0),
        ({"provider": "gone"}, 0),
        ({"start": "2026-01-05", "end": "2026-01-05"}, 1),
    ],
)
def test_it_is_of_the_days_channel_and_provider_that_are_asked_for(
    show, busy_month, query, attempts
):
    assert show(**query).context["total"]["attempts"] == attempts


def test_every_line_leads_to_what_is_behind_it(show, admin_client, busy_month):
    for _, _, lines in show().context["tables"]:
        for row in lines:
            behind = admin_client.get(f"{show().request['PATH_INFO']}?{row.query}")
            (alone,) = behind.context["tables"][0][2]
            assert row.cells == alone.cells


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"start": "2026-13-01"}, "Enter a date such as 2026-01-31."),
        ({"end": "tomorrow"}, "Enter a date such as 2026-01-31."),
        ({"start": "2026-02-01"}, "It comes after the last day, 2026-01-31."),
        ({"channel": "7"}, "Select a valid choice."),
        ({"channel": "SMS"}, "Select a valid choice."),
    ],
)
@pytest.mark.parametrize("csv_side", ["", "day"])
def test_what_cannot_be_read_is_said_on_the_page(show, query, says, csv_side):
    page = show(**query, csv=csv_side)

    assert page.status_code == 400
    assert says in page.text


@pytest.mark.parametrize("query", [{"start": "", "end": ""}, {"provider": "\0"}])
def test_blank_days_are_the_last_thirty_and_odd_providers_have_nothing(show, query):
    page = show(**query)

    assert page.status_code == 200
    assert "There are no counts for these days." in page.text


@pytest.mark.parametrize("side", ["channel", "provider", "day"])
def test_each_table_can_be_had_as_csv_with_every_figure(show, busy_month, side):
    lines = downloaded(show(csv=side))

    assert sorted(line[side] for line in lines) == sorted(rows(show(), side))
    assert sum(int(line["attempts"]) for line in lines) == 3
    assert sum(int(line["messages_delivered"]) for line in lines) == 3
    assert sum(int(line["fallbacks_primary_failed"]) for line in lines) == 1
    assert {"cost_USD_total", "cost_EUR_total", "response_time_ms_p99"} <= set(lines[0])


def test_a_rate_or_an_average_of_nothing_is_blank_in_csv_and_a_dash_on_the_page():
    taken_in = Tally({"status:0": 4})
    spent = Tally({"attempts": 2, "cost:EUR": 20000, "priced:EUR": 1})

    nothing, something = csv.DictReader(
        StringIO(as_csv("day", {"1": taken_in, "2": spent}), newline="")
    )

    names = ["delivery_rate", "success_rate", "response_time_ms_p50"]
    assert [nothing[name] for name in names] == ["", "", ""]
    assert nothing["cost_EUR_total"] == nothing["cost_EUR_priced_attempts"] == "0"
    assert nothing["cost_EUR_average_per_attempt"] == ""
    assert something["success_rate"] == "0.0"
    assert something["cost_EUR_per_delivered_message"] == ""
    titles = [column.title for column in COLUMNS]
    shown = dict(zip(titles, cells(taken_in), strict=True))
    assert {shown[title] for title in ("rate", "accepted", "p50", "p99")} == {NOTHING}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(name):
    (line,) = csv.DictReader(StringIO(as_csv("provider", {name: Tally()}), newline=""))

    assert line["provider"] == f"'{name}"


def test_flat_figures_have_no_figure_less():
    tally = Tally({"attempts": 1, "cost:EUR": 20000, "priced:EUR": 1})

    assert flat(figures(tally))["cost_EUR_total"] == tally.spending()["EUR"].total


def test_it_costs_one_query_of_the_statistics(
    show, busy_month, django_assert_num_queries
):
    show()

    with django_assert_num_queries(3):  # with the session and its user
        show()


def test_it_is_for_who_may_view_statistics(client, django_user_model):
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    client.force_login(viewer)
    address = reverse("admin:routing_statisticsentry_changelist")
    assert client.get(address).status_code == 403

    viewer.user_permissions.add(Permission.objects.get(codename="view_statisticsentry"))

    assert client.get(address).status_code == 200
    assert address in client.get(reverse("admin:index")).text
