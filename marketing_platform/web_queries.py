"""What web requests do when the database takes too long, or is away: answer 503.

On PostgreSQL the connections of web processes have a `statement_timeout`, set when they
open, at no cost per query. Those of workers, commands and migrations have none. SQLite
checks the clock now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from django.conf import settings
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from routing.api.conventions import problems
from routing.api.conventions.problems import PROBLEM_TYPE, problem


class Trouble(NamedTuple):
    """Why the database did not do its part, and when to try again."""

    detail: str
    retry_after: int  # seconds


TOO_LONG = Trouble(
    "The database took too long. Ask for less: a shorter period, a filter, a full "
    "number. If it was busy, try again.",
    retry_after=30,
)
AWAY = Trouble(
    "The database is away, or is being restarted. Try again in a few seconds; a POST "
    "with its Idempotency-Key, so that it is not done twice.",
    retry_after=5,
)
_CANCELLED = frozenset({"57014", "55P03"})  # query_canceled, lock_not_available
_READ_ONLY = "25006"  # after a failover, until the connection is a new one
_SQLITE_AWAY = (
    "database is locked",
    "database table is locked",
    "unable to open database file",
    "disk I/O error",
    "database or disk is full",
)
_STEPS = 10_000  # of SQLite's virtual machine between checks of the clock


def bound_web_queries() -> None:
    """Called once when a web process starts, by wsgi.py and asgi.py."""
    milliseconds = int(settings.WEB_STATEMENT_TIMEOUT * 1000)
    for each in connections.all():
        if each.vendor == "postgresql" and milliseconds:
            options = each.settings_dict["OPTIONS"]
            bound = f"-c statement_timeout={milliseconds}"
            options["options"] = f"{options.get('options', '')} {bound}".strip()


class QueryLimitMiddleware:
    """Answers 503 when the database is in trouble, and limits the queries of SQLite."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if connection.vendor != "sqlite" or not settings.WEB_STATEMENT_TIMEOUT:
            return self.get_response(request)
        with connection.execute_wrapper(_until_it_takes_too_long):
            try:
                return self.get_response(request)
            finally:
                _look_no_more()

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """Called for an exception of a view or its template."""
        trouble = trouble_of(exception)
        return unavailable(request, trouble) if trouble else None


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500, also for what a middleware raised."""
    trouble = trouble_of(sys.exception())
    return unavailable(request, trouble) if trouble else problems.server_error(request)


def trouble_of(exception: BaseException | None) -> Trouble | None:
    """What is wrong with the database; None if the error is ours."""
    if not isinstance(exception, DatabaseError | InterfaceError):
        return None
    state = getattr(exception.__cause__, "sqlstate", None)
    if state in _CANCELLED or str(exception) == "interrupted":
        return TOO_LONG
    is_away = isinstance(exception, OperationalError | InterfaceError)
    if connection.vendor == "sqlite":  # there, that includes errors in statements
        is_away = is_away and str(exception).startswith(_SQLITE_AWAY)
    return AWAY if is_away or state == _READ_ONLY else None


def unavailable(request: HttpRequest, trouble: Trouble) -> HttpResponse:
    """The answer when the database is in trouble."""
    response: HttpResponse
    if request.path.startswith("/api/"):
        response = JsonResponse(
            problem(503, trouble.detail), status=503, content_type=PROBLEM_TYPE
        )
    elif request.path.startswith("/admin/"):
        response = render(None, "503.html", {"detail": trouble.detail}, status=503)
    else:
        response = HttpResponse(trouble.detail, status=503, content_type="text/plain")
    response["Retry-After"] = str(trouble.retry_after)
    return response


def _until_it_takes_too_long(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
) -> Any:
    deadline = time.monotonic() + settings.WEB_STATEMENT_TIMEOUT
    context["connection"].connection.set_progress_handler(
        lambda: time.monotonic() > deadline, _STEPS
    )
    return execute(sql, params, many, context)


def _look_no_more() -> None:
    if connection.connection is not None:
        connection.connection.set_progress_handler(None, 0)
