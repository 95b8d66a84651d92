"""Ends sessions that nobody uses.

Each use moves the end of the session on, but stores that at most once a minute: with
every request, a page would cost a write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

USED_AT = "used_at"  # in the session: seconds since 1970
NOTED_EVERY = 60  # seconds


class IdleMiddleware:
    """Keeps a session that is used; the others end after SESSION_COOKIE_AGE."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Afterwards, so that only pages that read the session anyway do so."""
        response = self._get_response(request)
        if request.session.accessed and not _is_by_itself(request):
            _note_use(request)
        return response


@receiver(user_logged_in)
def note_first_use(request: HttpRequest, **_: Any) -> None:
    """The log-in itself."""
    request.session[USED_AT] = int(time.time())


def _note_use(request: HttpRequest) -> None:
    """Saving a session moves its end on, here and in the browser."""
    now, session = int(time.time()), request.session
    if SESSION_KEY not in session:
        return
    # Below 0 if the clock was set back.
    if not 0 <= now - session.get(USED_AT, 0) < NOTED_EVERY:
        session[USED_AT] = now


def _is_by_itself(request: HttpRequest) -> bool:
    """Whether a page refreshes itself, which it does without a person as well."""
    return request.headers.get("HX-Request") == "true"
