"""No copies: what we answer is about people, and stays out of caches."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control

# The description of the API is the same for everybody.
PUBLIC = frozenset({"schema", "docs"})


class NoStoreMiddleware:
    """Keeps browsers and proxies from storing anything but public pages.

    Everything, not a list of pages: a new one holds personal data until somebody says
    otherwise. Static files are answered before it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Errors and redirects as well."""
        response = self._get_response(request)
        match = request.resolver_match
        if match is None or match.view_name not in PUBLIC:
            patch_cache_control(response, no_store=True, private=True)
        return response
