"""Many rows in one statement, for the few statements that every message passes through.

The rows go as one JSON parameter, which both databases read as a table, and what a row
does not name is NULL in it. The statements are prepared on PostgreSQL: it plans them
once per connection, which is a fifth of what a message costs the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connection, connections
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
    database = connections[DEFAULT_DB_ALIAS]  # each look through the proxy has a price
    if database.vendor != "postgresql":
        with database.cursor() as cursor:
            yield cursor
        return
    database.ensure_connection()
    raw = database.connection
    # Django turns it off, for the sake of poolers. It holds for cursors like this only.
    raw.prepare_threshold = 0
    own = ServerBindingCursor(raw)  # type: ignore[call-arg]
    wrap = (
        database.make_debug_cursor if database.queries_logged else database.make_cursor
    )
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
    """The rows as a parameter.

    What no database takes is left out: PostgreSQL refuses NUL in any text, and there
    is no half a character in UTF-8.
    """
    try:
        document = _written(rows)
    except TypeError:  # half a character, or what has no form at all
        return _written(_cleaned(rows))
    return _written(_cleaned(rows)) if "\\u0000" in document else document


def as_text(moment: datetime) -> str:
    """A time as a parameter; for SQLite as Django writes it, there it compares text."""
    if connection.vendor != "postgresql":
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return str(moment)


def _written(document: Any) -> str:
    """By orjson, for every message passes through here: json takes ten times as long,
    which was a twentieth of what a message costs.
    """
    # PostgreSQL reads times as orjson writes them.
    own = 0 if connection.vendor == "postgresql" else orjson.OPT_PASSTHROUGH_DATETIME
    return orjson.dumps(document, default=_in_text, option=own).decode()


def _in_text(value: object) -> str:
    """What orjson has no form for."""
    if isinstance(value, datetime):
        return as_text(value)
    if isinstance(value, date | Decimal):
        return str(value)
    raise TypeError


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    return value
