"""No page blocks a thread or the database with an unlimited query."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.contrib import admin
from django.db import connection
from django.http import HttpResponse
from django.urls import path

from marketing_platform.urls import urlpatterns as ours
from routing.admin.bases import BoundedAdmin

FOR_EVER = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"
)


def slow(request):
    with connection.cursor() as cursor:
        cursor.execute(FOR_EVER.format("count(*)"))
        return HttpResponse(cursor.fetchone())


def slow_rows(request):
    """SQLite computes each row when it is fetched."""
    with connection.cursor() as cursor:
        cursor.execute(FOR_EVER.format("i") + " WHERE i < 0")
        return HttpResponse(cursor.fetchall())


urlpatterns = [
    path("slow", slow),
    path("api/slow", slow),
    path("rows", slow_rows),
    path("webhooks/slow", slow),
    *ours,
]


@pytest.fixture
def short(settings, db):
    """Web processes get it from their connections: see below."""
    settings.WEB_STATEMENT_TIMEOUT = 0.2
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 200")


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("address", ["/slow", "/rows", "/api/slow", "/webhooks/slow"])
def test_a_query_that_takes_too_long_is_ended_and_told(client, short, address):
    answer = client.get(address)

    assert answer.status_code == 503
    assert answer["Retry-After"] == "30"
    assert "took too long" in answer.content.decode()
    is_problem = answer["Content-Type"] == "application/problem+json"
    assert is_problem == address.startswith("/api/")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has none")
def test_the_web_has_a_statement_timeout_and_commands_have_none():
    show = (
        "from django.db import connection as c; k = c.cursor();"
        "k.execute('SHOW statement_timeout'); print(k.fetchone()[0])"
    )
    web = "import marketing_platform.wsgi;"
    command = "import django; django.setup();"

    found = [run(start + show) for start in (web, command)]

    assert found == ["15s", "0"]


def run(code):
    environment = {
        "DJANGO_SETTINGS_MODULE": "marketing_platform.settings",
        **os.environ,
    }
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, text=True).strip()


@pytest.mark.parametrize("model_admin", admin.site._registry.values(), ids=str)
def test_every_list_of_the_back_office_is_bounded(model_admin):
    assert isinstance(model_admin, BoundedAdmin)
    assert model_admin.show_facets is admin.ShowFacets.NEVER
    assert not model_admin.show_full_result_count
    assert model_admin.list_max_show_all <= 200


def test_nobody_gets_counts_for_each_choice_of_a_filter(admin_client):
    answer = admin_client.get("/admin/messaging/suppression/?_facets=True")

    assert answer.context["cl"].add_facets is False
