"""On whose behalf this code runs: a request's caller, or the user of a command."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from marketing_platform.audit.models import Door
from marketing_platform.client_address import client_address
from marketing_platform.tokens.models import ApiToken

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and by which way in."""

    door: Door
    name: str
    user_id: int | None = None
    token: str = ""
    address: str = ""
    source: str = ""


class ActingMiddleware:
    """Remembers the request while it is processed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The caller is known only later: the API checks tokens within its views."""
        token = _request.set(request)
        try:
            return self._get_response(request)
        finally:
            _request.reset(token)


def current_actor() -> Actor:
    """Who acts now."""
    request = _request.get()
    return _by_command() if request is None else by_request(request)


def by_request(request: HttpRequest) -> Actor:
    """The caller of a request, as far as known."""
    user = getattr(request, "user", None)
    is_known = user is not None and user.is_authenticated
    token = getattr(request, "auth", None)
    return Actor(
        door=_door(request, token),
        name=user.get_username() if user and is_known else "",
        user_id=user.pk if user and is_known else None,
        token=_named(token) if isinstance(token, ApiToken) else "",
        address=client_address(request),
        source=f"{request.method} {request.path}",
    )


def _door(request: HttpRequest, token: object) -> Door:
    if isinstance(token, ApiToken):
        return Door.API
    is_office = request.path.startswith(reverse("admin:index"))
    return Door.ADMIN if is_office else Door.WEB


def _named(token: ApiToken) -> str:
    return f"#{token.pk} {token} {token.name}".strip()


def _by_command() -> Actor:
    """Without arguments: they may contain recipients."""
    program = Path(sys.argv[0]).name
    command = sys.argv[1] if program == "manage.py" and len(sys.argv) > 1 else ""
    return Actor(Door.COMMAND, _os_user(), source=f"{program} {command}".strip())


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container: a user id without a name
        return f"uid {os.getuid()}"
