"""Authentication by bearer token. The API has no sessions."""

from __future__ import annotations

import logging
from datetime import datetime

from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import (
    AuthenticationFailed,
    NotAuthenticated,
    Throttled,
)
from rest_framework.request import Request

from marketing_platform.client_address import client_address, network_of
from marketing_platform.tokens.guesses import Guesses
from marketing_platform.tokens.models import ApiToken
from routing.signals import report

logger = logging.getLogger(__name__)
guesses = Guesses()
HOW = "Send a token from `manage.py issue_token`: Authorization: Bearer mp_live_…"


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; anything else is answered 401."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken]:
        """The token's user, and the token as `request.auth`."""
        now = timezone.now()
        token = ApiToken.objects.of_text(_bearer(request))
        if token is None:
            _note_guess(request, now)
            raise AuthenticationFailed("This token does not exist.")
        if problem := token.problem(now):
            raise AuthenticationFailed(problem)
        ApiToken.objects.note_use(token, now=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes the response a 401 instead of a 403."""
        return "Bearer"


def _note_guess(request: Request, now: datetime) -> None:
    """Raises Throttled if one address sends too many. Valid tokens are not affected."""
    address = client_address(request._request)
    refusal = guesses.note(network_of(address), now=now)
    if refusal.is_news:
        logger.warning("%s sends many tokens that do not exist.", address)
        report("guess tokens")
    if refusal.wait:
        raise Throttled(wait=refusal.wait.total_seconds())


def _bearer(request: Request) -> str:
    scheme, _, text = get_authorization_header(request).partition(b" ")
    if scheme.lower() != b"bearer" or not text.strip():
        raise NotAuthenticated(HOW)
    return text.strip().decode("latin-1")
