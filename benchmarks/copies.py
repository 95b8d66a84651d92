"""Copies of a row about one message, for all the other messages of its campaign."""

from __future__ import annotations

from django.db import connection, models

from benchmarks.stage import columns_of
from messaging.models import Campaign

# `a` is the row that is copied, and `m` the message that the copy is about.
_COPIES = """
INSERT INTO {table} ({columns})
SELECT {values} FROM {table} AS a, messaging_campaignmessage AS m
WHERE a.id = %s AND m.campaign_id = %s AND m.id <> a.message_id
"""


def copy_to_all(row: models.Model, campaign: Campaign, **special: str) -> None:
    """`special` is the SQL of columns that are not as in the row."""
    special = {"message_id": "m.id", **special}
    columns = columns_of(type(row))
    statement = _COPIES.format(
        table=row._meta.db_table,
        columns=", ".join(columns),
        values=", ".join(special.get(name, f"a.{name}") for name in columns),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [row.pk, campaign.pk])
