"""Responses contain personal data, so they are kept out of caches."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control

# The description of the API is the same for all.
PUBLIC = frozenset({"schema", "docs"})


class NoStoreMiddleware:
    """Keeps browsers and proxies from storing anything but public pages.

    All pages by default: a new one may contain personal data. Static files are answered
    before this middleware.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Also covers errors and redirects."""
        response = self._get_response(request)
        match = request.resolver_match
        if match is None or match.view_name not in PUBLIC:
            patch_cache_control(response, no_store=True, private=True)
        return response
