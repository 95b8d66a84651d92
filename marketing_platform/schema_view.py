"""The description of the API at /api/schema, built once per process.

Building takes a second of processor time, and drf-spectacular cannot build two at once,
because it keeps its state in its modules. The result does not depend on the request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from functools import cache
from threading import Lock
from typing import Any, NamedTuple, cast

from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

MAX_AGE = 300  # seconds; an upgrade may change it

_lock = Lock()


class _Document(NamedTuple):
    content: bytes
    etag: str


class SchemaView(SpectacularAPIView):
    """OpenAPI as YAML or JSON, by `?format=` or `Accept`."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The document, or 304 if the client has it."""
        renderer = request.accepted_renderer
        document = _document_as(cast(Hashable, type(renderer)))
        response = get_conditional_response(request._request, etag=document.etag)
        if response is None:
            response = HttpResponse(document.content)
            response["Content-Type"] = renderer.media_type
            name = f"Marketing platform.{renderer.format}"
            response["Content-Disposition"] = f'inline; filename="{name}"'
        response["ETag"] = document.etag
        response["Cache-Control"] = f"public, max-age={MAX_AGE}"
        return response


def _document_as(renderer: Hashable) -> _Document:
    with _lock:
        return _written(renderer)


@cache
def _written(renderer: Hashable) -> _Document:
    content = cast(type[BaseRenderer], renderer)().render(_built(), renderer_context={})
    if isinstance(content, str):
        content = content.encode()
    return _Document(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@cache
def _built() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
