"""The Content-Security-Policy: pages load and run only what this host serves as files.

A text of a provider or a recipient that got into a page unescaped could then neither
run nor load anything.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
# Its style sheet has its icons inside.
POLICY_OF_THE_API_DOCS = f"{POLICY}; img-src 'self' data:"


class ContentPolicyMiddleware:
    """Puts the policy on every response that has none of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Also covers errors and redirects."""
        response = self._get_response(request)
        match = request.resolver_match
        is_docs = match is not None and match.view_name == "docs"
        response.setdefault(HEADER, POLICY_OF_THE_API_DOCS if is_docs else POLICY)
        return response
