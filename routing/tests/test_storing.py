"""Receipts are stored by many threads at once, also on connections that have broken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from routing.models import WaitingReceipt
from routing.providers.base import Receipt
from routing.receipts.inbox import store
from routing.sql_rows import prepared_cursor
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.django_db(transaction=True)
on_a_server = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no connection to break"
)


def arrive(*event_ids, provider="TwilioSMS"):
    receipts = [
        Receipt(
            event_id=event_id,
            reference="",
            external_message_id="SM1",
            status=MessageStatus.DELIVERED,
            provider_status="delivered",
        )
        for event_id in event_ids
    ]
    store(provider_name=provider, receipts=receipts, raw="", now=timezone.now())


def stored():
    return set(WaitingReceipt.objects.values_list("provider", "event_id"))


@on_a_server
def test_threads_that_store_at_once_store_all():
    def call(number):
        try:
            arrive(f"a{number}", f"b{number}", "everywhere", provider=f"P{number % 3}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(40)))

    assert stored() == {
        (f"P{number % 3}", event)
        for number in range(40)
        for event in (f"a{number}", f"b{number}", "everywhere")
    }


@on_a_server
def test_a_broken_connection_loses_no_receipt():
    arrive("before")
    other = connection.copy()
    with other.cursor() as cursor:
        pid = connection.connection.info.backend_pid
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()

    arrive("after")

    assert stored() == {("TwilioSMS", "before"), ("TwilioSMS", "after")}


@on_a_server
@pytest.mark.parametrize("is_pooled", [False, True])
def test_nothing_is_prepared_behind_a_pooler(is_pooled):
    connection.close()
    connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = is_pooled
    try:
        with prepared_cursor() as cursor:
            cursor.execute("SELECT 1 WHERE %s", [True])
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_prepared_statements")
            assert (cursor.fetchone()[0] == 0) is is_pooled
    finally:
        connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False
        connection.close()


def test_within_a_transaction_a_receipt_is_stored_when_that_commits():
    with transaction.atomic():
        arrive("rolled back")
        transaction.set_rollback(True)

    assert stored() == set()
