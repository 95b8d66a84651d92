"""The page behind an e-mail's unsubscribe link, and the one-click POST (RFC 8058)."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from messaging.consent.opt_outs import opt_out, recipient_of

_HEADERS = {
    "Referrer-Policy": "no-referrer",  # the URL works like a key
    "X-Robots-Tag": "noindex",
}


@cache
def _policy() -> str:
    """For a page by itself: with its own style, no script, other origin or frame."""
    style = sha256(render_to_string("messaging/unsubscribe.css").encode()).digest()
    return (
        f"default-src 'none'; style-src 'sha256-{b64encode(style).decode()}'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@csrf_exempt  # mail programs post without cookies; the token is what counts
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """POST suppresses the recipient; GET only asks, because programs follow links."""
    recipient = recipient_of(token)
    if recipient is None:
        return _page(request, "unknown", status=404)
    if request.method != "POST":
        return _page(request, "asked")
    opt_out(recipient, source="Unsubscribe link")
    return _page(request, "done")


def _page(request: HttpRequest, state: str, *, status: int = 200) -> HttpResponse:
    response = render(
        request, "messaging/unsubscribe.html", {"state": state}, status=status
    )
    response["Content-Security-Policy"] = _policy()
    for name, value in _HEADERS.items():
        response[name] = value
    return response
