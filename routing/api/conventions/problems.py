"""Error responses of the API, all in the form of RFC 9457 (problem+json).

`errors` lists the bad fields, each with a code for programs and a sentence for people;
it is empty if the problem is not about fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import serializers, status
from rest_framework.exceptions import (
    APIException,
    ErrorDetail,
    NotFound,
    ValidationError,
)
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler as drf_exception_handler

PROBLEM_TYPE = "application/problem+json"


class FieldErrorSerializer(serializers.Serializer[Any]):
    """What is wrong with one field."""

    field = serializers.CharField(
        allow_null=True,
        help_text="Such as `maxRetries` or `furtherProviders[0].weight`; null if it is "
        "about the whole body.",
    )
    code = serializers.CharField(help_text="For programs, such as `required`.")
    detail = serializers.CharField(help_text="For people.")


class ProblemSerializer(serializers.Serializer[Any]):
    """Why the request was refused (RFC 9457)."""

    type = serializers.CharField(help_text="`about:blank`: see the status.")
    title = serializers.CharField(help_text="The status in words.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, and what to do about it.")
    errors = FieldErrorSerializer(many=True)  # type: ignore[assignment]


class Conflict(APIException):
    """The current state does not allow the request."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "Another change came first: read the current state and try again."
    default_code = "conflict"


# Per request: a body of 2.5 MB may have hundreds of thousands of mistakes.
ERRORS_SHOWN = 1000


class BodyTooLarge(APIException):
    """The body is larger than DATA_UPLOAD_MAX_MEMORY_SIZE."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The body is too large: send less at once."
    default_code = "too_large"


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handling, in our format. None, which means 500, for unexpected errors."""
    if isinstance(exc, IntegrityError):
        exc = Conflict()  # validation had passed: another request was faster
    elif isinstance(exc, RequestDataTooBig):
        exc = BodyTooLarge()
    elif isinstance(exc, Http404) and (pk := context["kwargs"].get("pk")):
        # Django's own text contains our class names.
        exc = NotFound(f"There is nothing with the id {pk}.")
    response = drf_exception_handler(exc, context)
    if response is None:
        return None
    if isinstance(exc, ValidationError):
        errors = list(islice(field_errors(exc.detail), ERRORS_SHOWN))
        detail = _summary(errors)
    else:
        errors, detail = [], str(response.data["detail"])
    response.data = problem(response.status_code, detail, errors)
    response.content_type = PROBLEM_TYPE
    return response


def problem(
    status_code: int, detail: str, errors: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The body of an error response."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status_code).phrase,
        "status": status_code,
        "detail": detail,
        "errors": errors or [],
    }


def field_errors(detail: Any, field: str = "") -> Iterator[dict[str, Any]]:
    """DRF's nested details as a flat list, in the order of the fields."""
    if isinstance(detail, ErrorDetail):
        yield {"field": field or None, "code": detail.code, "detail": str(detail)}
    elif isinstance(detail, dict):
        for key, inner in detail.items():
            yield from field_errors(inner, _below(field, key))
    else:
        for index, inner in enumerate(detail):
            is_text = isinstance(inner, ErrorDetail)
            yield from field_errors(inner, field if is_text else f"{field}[{index}]")


def _below(field: str, key: object) -> str:
    if key == api_settings.NON_FIELD_ERRORS_KEY:
        return field
    if isinstance(key, int):
        return f"{field}[{key}]"
    return f"{field}.{key}" if field else str(key)


def _summary(errors: list[dict[str, Any]]) -> str:
    """The first problem in full, so that it shows in a log line or a terminal."""
    first, *others = errors
    more = f" ({len(others)} more in `errors`.)" if others else ""
    field = f"{first['field']}: " if first["field"] else ""
    return f"{field}{first['detail']}{more}"


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404; below /api/ it answers in the API's format."""
    if not request.path.startswith("/api/"):
        return defaults.page_not_found(request, exception)
    return _as_json(404, "This address does not exist. See /api/docs/.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; below /api/ it answers in the API's format."""
    if not request.path.startswith("/api/"):
        return defaults.server_error(request)
    return _as_json(500, "An error on our side. It was logged; try again later.")


def _as_json(status_code: int, detail: str) -> HttpResponse:
    return JsonResponse(
        problem(status_code, detail), status=status_code, content_type=PROBLEM_TYPE
    )
