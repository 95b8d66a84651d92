"""A time limit for the queries of web requests, so that none blocks a thread for long.

On PostgreSQL the connections of web processes have a `statement_timeout`, set when they
open, at no cost per query. Those of workers, commands and migrations have none. SQLite
checks the clock now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from routing.api.conventions.problems import PROBLEM_TYPE, problem

TOO_LONG = (
    "The database took too long. Ask for less: a shorter period, a filter, a full "
    "number. If it was busy, try again."
)
RETRY_AFTER = 30  # seconds
_CANCELLED = frozenset({"57014", "55P03"})  # query_canceled, lock_not_available
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
    """Answers 503 if the database gave up, and limits the queries of SQLite."""

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
        return too_long(request) if is_too_long(exception) else None


def is_too_long(exception: Exception) -> bool:
    """Whether the database ended a statement because it took too long."""
    if not isinstance(exception, OperationalError):
        return False
    state = getattr(exception.__cause__, "sqlstate", None)
    return state in _CANCELLED or str(exception) == "interrupted"


def too_long(request: HttpRequest) -> HttpResponseBase:
    """The answer when the database has given up."""
    response: HttpResponseBase
    if request.path.startswith("/api/"):
        response = JsonResponse(
            problem(503, TOO_LONG), status=503, content_type=PROBLEM_TYPE
        )
    else:
        response = HttpResponse(TOO_LONG, status=503, content_type="text/plain")
    response["Retry-After"] = str(RETRY_AFTER)
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
