"""The short way for webhook calls: they skip the middleware that only pages need.

They have no log-in and show no page, and the provider's signature is checked. Sessions,
users, CSRF tokens and the like took a third of the web server's work for a receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from django.db import OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve

from marketing_platform.web_queries import is_too_long, too_long
from routing.receipts.webhooks import webhooks_root


class ShortWayMiddleware:
    """Calls the webhooks itself; passes all other requests to the next middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._root = webhooks_root()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(self._root):
            return self._get_response(request)
        request.get_host()  # raises for a name that is not in ALLOWED_HOSTS
        try:
            match = _match(request.path_info)
        except Resolver404:
            return self._get_response(request)
        try:
            answer: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        except OperationalError as error:
            if not is_too_long(error):
                raise
            answer = too_long(request)
        return answer


@lru_cache(maxsize=64)
def _match(path: str) -> ResolverMatch:
    return resolve(path)
