"""The handler of webhook calls: those in order do not reach Django's own handler.

A request object, signals and eleven middlewares, which only pages need, took half of
the web server's work for a receipt. A call that is not in order in every respect is
left to Django from its start: there it is refused, or fails, as any request does, so
that nothing is decided twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any

from django.conf import settings
from django.db import close_old_connections
from django.http.request import split_domain_port, validate_host

from routing.providers.base import WebhookRequest
from routing.receipts.webhooks import take_plain_receipts, webhooks_root

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]
_WITHOUT_PREFIX = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class WebhookHandler:
    """The WSGI application of webhook calls; passes all others to the next one."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._root = webhooks_root()

    def __call__(
        self, environ: Environ, start: Callable[..., object]
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(self._root) and self._takes(environ):
            start("204 No Content", [])
            return []
        return self._application(environ, start)

    def _takes(self, environ: Environ) -> bool:
        """Whether it was in order, and what it says is stored."""
        provider = environ["PATH_INFO"].removeprefix(self._root).removesuffix("/")
        if not _is_as_usual(environ):
            return False
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        call = WebhookRequest(_url(environ), Headers(environ), body)
        # Whatever is wrong: it will come to light again, where it is dealt with.
        with suppress(Exception):
            if take_plain_receipts(provider, call):
                close_old_connections()
                return True
        environ["wsgi.input"] = BytesIO(body)
        return False


class Headers(Mapping[str, str]):
    """The headers of a request, as they are in its environment."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        key = name.upper().replace("-", "_")
        value: str = self._environ[key if key in _WITHOUT_PREFIX else f"HTTP_{key}"]
        return value

    def __iter__(self) -> Iterator[str]:
        for key in self._environ:
            if key in _WITHOUT_PREFIX or key.startswith("HTTP_"):
                yield key.removeprefix("HTTP_").replace("_", "-").title()

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_as_usual(environ: Environ) -> bool:
    """Whether Django would let it through to its view."""
    length = environ.get("CONTENT_LENGTH", "")
    return (
        environ["REQUEST_METHOD"] == "POST"
        and length.isdecimal()
        and int(length) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        and _is_allowed(environ.get("HTTP_HOST", ""), tuple(settings.ALLOWED_HOSTS))
        and (not settings.SECURE_SSL_REDIRECT or _is_secure(environ))
    )


@lru_cache(maxsize=64)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


def _is_secure(environ: Environ) -> bool:
    if settings.SECURE_PROXY_SSL_HEADER:
        name, value = settings.SECURE_PROXY_SSL_HEADER
        if name in environ:
            first, *_ = environ[name].split(",", 1)
            return bool(first.strip() == value)
    return bool(environ["wsgi.url_scheme"] == "https")


def _url(environ: Environ) -> str:
    """As the provider called it: signatures cover the public URL."""
    query = environ.get("QUERY_STRING", "")
    path = f"{environ.get('SCRIPT_NAME', '')}{environ['PATH_INFO']}"
    return f"{settings.PUBLIC_URL}{path}{query and '?'}{query}"
