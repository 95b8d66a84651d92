"""Many rows in one statement."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from django.db import connection

from routing.sql_rows import as_json, as_text, derived_table, prepared_cursor

pytestmark = pytest.mark.django_db
COLUMNS = {"id": "bigint", "text": "text", "at": "timestamptz", "price": "numeric"}
NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)


def table_of(rows):
    """The rows as the database reads them."""
    with prepared_cursor() as cursor:
        cursor.execute(f"SELECT * FROM {derived_table(COLUMNS)}", [as_json(rows)])
        return cursor.fetchall()


def test_what_a_row_does_not_name_is_null():
    assert table_of([{"id": 1}, {"text": "a"}]) == [
        (1, None, None, None),
        (None, "a", None, None),
    ]


def test_prices_arrive_exactly():
    ((_, _, _, price),) = table_of([{"id": 1, "price": Decimal("0.0000001")}])

    assert Decimal(price) == Decimal("0.0000001")


@pytest.mark.parametrize(
    ("text", "stored"),
    [("no\0 NUL", "no NUL"), ("half \ud83d", "half ?"), ("whole 😀", "whole 😀")],
)
def test_what_no_database_takes_is_left_out(text, stored):
    ((_, arrived, _, _),) = table_of([{"id": 1, "text": text}])

    assert arrived == stored


def test_times_of_any_zone_compare_as_times():
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
    ((_, _, at, _),) = table_of([{"id": 1, "at": elsewhere}])

    if connection.vendor == "postgresql":
        assert at == NOON
    else:
        assert at == as_text(NOON) == "2025-06-02 12:00:00"


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="not JSON serializable: set"):
        as_json([{"id": {1}}])
    assert as_json([date(2025, 6, 2)]) == '["2025-06-02"]'


def test_statements_are_prepared_on_postgresql():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite prepares by itself")
    for _ in range(3):
        table_of([{"id": 1}])

    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [statement for (statement,) in cursor]
    assert any("json_to_recordset($1::json)" in each for each in prepared)
