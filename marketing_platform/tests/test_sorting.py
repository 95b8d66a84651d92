"""Lists of the back office are sorted only where an index serves it."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.db import connection
from django.test import RequestFactory
from django.urls import reverse

from messaging.factories import MessageFactory
from routing.factories import AttemptFactory
from routing.models import StatisticsEntry

pytestmark = pytest.mark.django_db
LISTS = [
    each
    for each in admin.site._registry.values()
    if not each.is_small and each.model is not StatisticsEntry  # a page of its own
]


def listed(model_admin, user, order):
    request = RequestFactory().get("/", {"o": order})
    request.user = user
    return model_admin.get_changelist_instance(request)


@pytest.fixture
def sorts():
    """Whether the database sorts all rows of a query."""
    if connection.vendor == "sqlite":
        return lambda rows: "USE TEMP B-TREE FOR ORDER BY" in rows.explain()
    with connection.cursor() as cursor:  # an empty table is read as it is, and sorted
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    return lambda rows: re.search(r"(?<!Incremental )Sort  \(", rows.explain())


@pytest.mark.parametrize("model_admin", LISTS, ids=str)
def test_an_index_serves_every_column_that_can_be_sorted_by(
    model_admin, admin_user, sorts
):
    columns = len(listed(model_admin, admin_user, "").list_display)
    orders = [f"{sign}{n}" for n in range(1, columns + 1) for sign in ("", "-")]

    sorted_by = {
        order
        for order in orders
        if sorts(listed(model_admin, admin_user, order).queryset[:50])
    }

    assert not sorted_by, "add an index, or offer no sorting"


def test_a_column_without_an_index_is_neither_offered_nor_obeyed(admin_client):
    first = AttemptFactory(message=MessageFactory(), response_time_ms=1)
    second = AttemptFactory(message=MessageFactory(), response_time_ms=2)
    address = reverse("admin:routing_messagedeliveryattempt_changelist")

    page = admin_client.get(address, {"o": "9"})  # by response time

    assert list(page.context["cl"].result_list) == [second, first]
    heads = page.text.partition("<thead>")[2].partition("</thead>")[0]
    assert re.findall(r"sortable column-(\w+)", heads) == ["attempted_at"]
