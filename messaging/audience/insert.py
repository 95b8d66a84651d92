"""Insert new messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import islice
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Field, JSONField

from messaging.models import CampaignMessage
from routing.rules.tally import TallySheet, status_counts
from routing.sql_rows import Columns, as_json, derived_table
from routing.statistics.entries import save_counts
from routing.vocabulary import MessageStatus

# Rows sent to the database at once; an e-mail may have 262,144 characters.
BLOCK = 100

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_SPECIAL = re.compile(r"[\\\t\n\r]")


class RecipientRow(NamedTuple):
    """The columns in which the messages of an audience differ."""

    recipient: str
    country: str
    subject: str
    body: str
    segments: int

    def copied(self) -> str:
        """The row in COPY's text format, where a backslash begins an escape."""
        cells = [*map(str, self)]
        if _SPECIAL.search("".join(cells)):
            cells = [cell.translate(_ESCAPES) for cell in cells]
        return "\t".join(cells)


RECIPIENT_COLUMNS: Columns = {
    "recipient": "text",
    "country": "text",
    "subject": "text",
    "body": "text",
    "segments": "smallint",
}
_TABLE = CampaignMessage._meta.db_table
_INSERT = "INSERT INTO {table} ({names}) SELECT {own}, {common} FROM {rows}"


def enqueue(messages: Sequence[CampaignMessage]) -> None:
    """Queue new messages, and count them. An error spoils the caller's transaction."""
    sheet = TallySheet()
    with transaction.atomic(savepoint=False):
        for each in CampaignMessage.objects.bulk_create(messages):
            _count_queued(sheet, each)
        save_counts(sheet)


def enqueue_audience(
    shared: CampaignMessage,
    rows: Sequence[RecipientRow],
    *,
    while_waiting: Callable[[], object] = lambda: None,
) -> None:
    """Queue and count many messages that differ only in their rows; returns no ids.

    `while_waiting` may be called while the database works; it must make no queries.
    """
    sheet = TallySheet()
    with transaction.atomic():
        if connection.vendor == "postgresql":
            _copy(shared, rows, while_waiting)
        else:
            _insert(shared, rows)
        _count_queued(sheet, shared, times=len(rows))
        save_counts(sheet)


def _count_queued(sheet: TallySheet, message: CampaignMessage, times: int = 1) -> None:
    """Count a new message, or `times` new messages like it."""
    sheet.count(
        status_counts(MessageStatus.QUEUED),
        at=message.created_at,
        channel=message.channel,
        provider="",
        times=times,
    )


def _copy(
    shared: CampaignMessage,
    rows: Sequence[RecipientRow],
    while_waiting: Callable[[], object],
) -> None:
    """Insert by COPY, with a fraction of the CPU time of `bulk_create`.

    The shared columns are formatted only once.
    """
    common = _common_fields()
    rest = "".join(f"\t{_copied(field, shared)}" for field in common) + "\n"
    lines = (own.copied() + rest for own in rows)
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {_TABLE} ({_names(common)}) FROM STDIN") as copy,
    ):
        while block := "".join(islice(lines, BLOCK)):
            copy.write(block)
        while_waiting()


def _insert(shared: CampaignMessage, rows: Sequence[RecipientRow]) -> None:
    """The same for SQLite, one statement per block."""
    common = _common_fields()
    statement = _INSERT.format(
        table=_TABLE,
        names=_names(common),
        own=", ".join(f"v.{name}" for name in RecipientRow._fields),
        common=", ".join(["%s"] * len(common)),
        rows=derived_table(RECIPIENT_COLUMNS),
    )
    values = [
        field.get_db_prep_save(field.pre_save(shared, add=True), connection)
        for field in common
    ]
    with connection.cursor() as cursor:
        for start in range(0, len(rows), BLOCK):
            block = [own._asdict() for own in rows[start : start + BLOCK]]
            cursor.execute(statement, [*values, as_json(block)])


def _common_fields() -> list[Field[Any, Any]]:
    return [
        field
        for field in CampaignMessage._meta.concrete_fields
        if not field.primary_key and field.name not in RecipientRow._fields
    ]


def _names(common: Sequence[Field[Any, Any]]) -> str:
    return ", ".join([*RecipientRow._fields, *(field.column or "" for field in common)])


def _copied(field: Field[Any, Any], shared: CampaignMessage) -> str:
    """A shared column in COPY's format; sets values that are set on creation."""
    value = field.pre_save(shared, add=True)
    if value is None:
        return r"\N"
    if isinstance(field, JSONField):
        value = json.dumps(value)
    text = str(int(value) if isinstance(value, IntEnum) else value)
    return text.translate(_ESCAPES)
