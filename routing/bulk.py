"""Many rows in one statement, for the few statements that every message passes through.

The rows go as one JSON parameter, which both databases read as a table, and what a row
does not name is NULL in it. The statements are prepared on PostgreSQL: it plans them
once per connection, which is a fifth of what a message costs the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper

from routing.timer import Timer

# Column -> its PostgreSQL type.
Columns = Mapping[str, str]
Row = Mapping[str, Any]

# A plan that was made while a table was small stays when it has grown: until the table
# is analyzed, or the plans are made anew.
PLAN_EVERY = timedelta(seconds=5)
_plans = Timer(PLAN_EVERY)


@contextmanager
def prepared_cursor() -> Iterator[CursorWrapper]:
    """A cursor of Django's; on PostgreSQL, its statements are prepared.

    They must be few, and always the same text: each one stays in the connection. For
    workers, which connect directly: a pooler may lose them.
    """
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            yield cursor
        return
    connection.ensure_connection()
    raw = connection.connection
    # Django turns it off, for the sake of poolers. It holds for cursors like this only.
    raw.prepare_threshold = 0
    own = ServerBindingCursor(raw)  # type: ignore[call-arg]
    is_logged = connection.queries_logged
    wrap = connection.make_debug_cursor if is_logged else connection.make_cursor
    with wrap(own) as cursor:  # type: ignore[arg-type]
        if _plans.comes_round():
            cursor.execute("DISCARD PLANS")
        yield cursor


def derived_table(columns: Columns) -> str:
    """A table `v` for a FROM, of the rows that come `as_json` in its one parameter."""
    if connection.vendor == "postgresql":
        types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return f"json_to_recordset(%s::json) AS v ({types})"
    fields = ", ".join(f"value ->> '{name}' AS {name}" for name in columns)
    return f"(SELECT {fields} FROM json_each(%s)) AS v"  # noqa: S608 - our own names


def as_json(rows: Sequence[Any]) -> str:
    """The rows as a parameter."""
    write = _on_postgres if connection.vendor == "postgresql" else _on_sqlite
    document = json.dumps(rows, default=write)
    # PostgreSQL refuses NUL in any text, and no database takes half a character; whole
    # ones beyond the first 65,536 are written as two halves, and do no harm here.
    if "\\u0000" in document or "\\ud" in document:
        document = json.dumps(_cleaned(rows), default=write)
    return document


def as_text(moment: datetime) -> str:
    """A time as a parameter."""
    is_postgres = connection.vendor == "postgresql"
    return _on_postgres(moment) if is_postgres else _on_sqlite(moment)


def _on_postgres(value: object) -> str:
    """What JSON has no form for."""
    if isinstance(value, date | Decimal):
        return str(value)
    raise TypeError(f"A {type(value).__name__} has no form in a statement.")


def _on_sqlite(value: object) -> str:
    """Times as Django writes them, for there they are compared as text."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None)
    return _on_postgres(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    return value
