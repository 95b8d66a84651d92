"""Many rows in one statement, for the few statements that every message needs.

The rows are passed as one JSON parameter, which both databases read as a table; a
column missing from a row is NULL. On PostgreSQL the statements are prepared: planning
them once per connection saves a fifth of a message's cost to the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper

from routing.timer import Timer

# Column -> its PostgreSQL type.
Columns = Mapping[str, str]
Row = Mapping[str, Any]

# A plan made while a table was small is kept after it has grown, until the table is
# analyzed or the plans are discarded.
PLAN_EVERY = timedelta(seconds=5)
_plans = Timer(PLAN_EVERY)


@contextmanager
def prepared_cursor() -> Iterator[CursorWrapper]:
    """A Django cursor; on PostgreSQL, its statements are prepared.

    They must be few, and always have the same text: each one stays in the connection.
    A pooler may lose prepared statements, so nothing is prepared behind one
    (DISABLE_SERVER_SIDE_CURSORS).
    """
    database = connections[DEFAULT_DB_ALIAS]  # each access through the proxy costs time
    if database.vendor != "postgresql" or _is_pooled(database):
        with database.cursor() as cursor:
            yield cursor
        return
    database.ensure_connection()
    raw = database.connection
    # Django turns it off because of poolers. This affects only cursors like this one.
    raw.prepare_threshold = 0
    own = ServerBindingCursor(raw)  # type: ignore[call-arg]
    wrap = (
        database.make_debug_cursor if database.queries_logged else database.make_cursor
    )
    with wrap(own) as cursor:  # type: ignore[arg-type]
        if _plans.comes_round():
            cursor.execute("DISCARD PLANS")
        yield cursor


def _is_pooled(database: BaseDatabaseWrapper) -> bool:
    return bool(database.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"))


def derived_table(columns: Columns) -> str:
    """A table `v` for a FROM clause, of the rows in its one parameter (`as_json`)."""
    if connection.vendor == "postgresql":
        types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return f"json_to_recordset(%s::json) AS v ({types})"
    fields = ", ".join(f"value ->> '{name}' AS {name}" for name in columns)
    return f"(SELECT {fields} FROM json_each(%s)) AS v"  # noqa: S608 - our own names


def as_json(rows: Sequence[Any]) -> str:
    """The rows as a parameter.

    Characters that no database accepts are left out: PostgreSQL refuses NUL in any
    text, and UTF-8 cannot encode a lone surrogate.
    """
    try:
        document = _written(rows)
    except TypeError:  # a lone surrogate, or a value that cannot be JSON
        return _written(_cleaned(rows))
    return _written(_cleaned(rows)) if "\\u0000" in document else document


def as_text(moment: datetime) -> str:
    """A time as a parameter; on SQLite, which compares text, in Django's format."""
    if connection.vendor != "postgresql":
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return str(moment)


def _written(document: Any) -> str:
    """By orjson, because every message passes through here: json takes ten times as
    long, which was a twentieth of a message's cost.
    """
    # PostgreSQL reads times as orjson writes them.
    own = 0 if connection.vendor == "postgresql" else orjson.OPT_PASSTHROUGH_DATETIME
    return orjson.dumps(document, default=_in_text, option=own).decode()


def _in_text(value: object) -> str:
    """Values that orjson does not support."""
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
