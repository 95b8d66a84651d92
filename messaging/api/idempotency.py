"""The Idempotency-Key header: a repeated request takes effect only once."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import cast

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from messaging.idempotency import Answer, KeyInFlight, KeyReused, answer_once
from routing.api.conventions.problems import Conflict

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY_LIMIT = 255  # characters

IDEMPOTENCY_KEY = OpenApiParameter(
    name=HEADER,
    type=OpenApiTypes.STR,
    location=OpenApiParameter.HEADER,
    description="Any text of up to 255 characters, new for each request, such as a "
    "UUID. A request repeated with the same key takes effect once and gets the first "
    f"response again, with `{REPLAYED}: true`. 409 while the first request is still in "
    "progress; 422 if the key was used for another request.",
)


class AskAgainSoon(Conflict):
    """A request with the same key is still in progress."""

    wait = 1  # seconds, for Retry-After


class KeyMismatch(APIException):
    """The key was used for another request."""

    status_code = 422
    default_code = "idempotency_key_reused"


def respond_once(request: Request, act: Callable[[], Response]) -> Response:
    """The response of `act`, or the stored one if the request's key was used before."""
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    try:
        answer = answer_once(
            user_id=cast("int", request.user.pk),  # requests are authenticated
            key=_checked(key),
            request_digest=_digest(request),
            now=timezone.now(),
            act=lambda: _answer(act()),
        )
    except KeyInFlight as error:
        raise AskAgainSoon(str(error)) from error
    except KeyReused as error:
        raise KeyMismatch(str(error)) from error
    return _response(answer)


def _checked(key: str) -> str:
    if not key.strip() or len(key) > KEY_LIMIT or not key.isprintable():
        raise ValidationError(
            {HEADER: f"This must be a text of 1 to {KEY_LIMIT} printable characters."}
        )
    return key


def _digest(request: Request) -> str:
    """A digest of the request; the order of fields in an object does not matter."""
    body = json.dumps(request.data, sort_keys=True)
    return sha256(f"{request.method} {request.path} {body}".encode()).hexdigest()


def _answer(response: Response) -> Answer:
    body = JSONRenderer().render(response.data).decode()
    return Answer(response.status_code, body, response.headers.get("Location", ""))


def _response(answer: Answer) -> Response:
    headers = {"Location": answer.location} if answer.location else {}
    if answer.is_replayed:
        headers[REPLAYED] = "true"
    return Response(json.loads(answer.body), status=answer.status, headers=headers)
