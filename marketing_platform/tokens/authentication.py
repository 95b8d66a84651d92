"""Who is calling: the bearer of a token. There are no sessions on the API."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from marketing_platform.tokens.models import ApiToken

HOW = "Send a token of `manage.py issue_token`, as in: Authorization: Bearer mp_live_…"


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; anything else is answered 401."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken]:
        """The token's user, and the token as `request.auth`."""
        now = timezone.now()
        token = ApiToken.objects.of_text(_bearer(request))
        if token is None:
            raise AuthenticationFailed("This token does not exist.")
        if problem := token.problem(now):
            raise AuthenticationFailed(problem)
        ApiToken.objects.note_use(token, now=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes the answer a 401 and not a 403."""
        return "Bearer"


def _bearer(request: Request) -> str:
    scheme, _, text = get_authorization_header(request).partition(b" ")
    if scheme.lower() != b"bearer" or not text.strip():
        raise NotAuthenticated(HOW)
    return text.strip().decode("latin-1")
