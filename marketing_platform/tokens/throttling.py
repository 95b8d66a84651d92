"""The rate limit of a token; DRF answers 429 with Retry-After."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from marketing_platform.tokens.models import ApiToken
from marketing_platform.tokens.services import take_turn

if TYPE_CHECKING:
    # rest_framework.views imports this module, through the settings.
    from rest_framework.views import APIView


class TokenThrottle(BaseThrottle):
    """API_RATE_PER_SECOND for each token, in all web processes together."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Whether the token has a turn left; without a token there is no limit."""
        if isinstance(request.auth, ApiToken):
            wait = take_turn(request.auth, now=timezone.now())
            self._seconds = wait.total_seconds()
        return not self._seconds

    def wait(self) -> float:
        """Seconds until the next turn."""
        return self._seconds
