"""Checks passwords: not too often, and every attempt is recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from django.core.exceptions import PermissionDenied, ValidationError
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from marketing_platform.audit.acting import by_request
from marketing_platform.audit.record import record
from marketing_platform.client_address import client_address
from marketing_platform.log_ins.throttling import Turn, give_back, take_turn

TURN = "log_in_turn"  # attribute of the request, once a turn was taken
NOBODY = "(no such user)"  # in place of the name, which may be a password


class ThrottledBackend(ModelBackend):
    """Like Django's own, which does not limit guesses."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The user with this password; raises PermissionDenied if they must wait."""
        if request is not None and username is not None:
            address = client_address(request)
            turn = take_turn(username=username, address=address, now=timezone.now())
            setattr(request, TURN, turn)
            if turn.wait:
                raise PermissionDenied
        return super().authenticate(request, username, password, **kwargs)


class LogInForm(AdminAuthenticationForm):
    """Says how long to wait after too many attempts."""

    def clean(self) -> dict[str, Any]:
        """The fields, checked against a user."""
        try:
            return super().clean()
        except ValidationError:
            turn: Turn | None = getattr(self.request, TURN, None)
            if turn is None or not turn.wait:
                raise
            minutes = int(turn.wait.total_seconds() // 60) + 1
            raise ValidationError(
                f"Too many attempts. Try again in {minutes} min.", code="throttled"
            ) from None


@receiver(user_logged_in)
def note_log_in(request: HttpRequest, user: User, **_: Any) -> None:
    """Only for the log-in page; a log-in by code has no request method."""
    if request.method is not None:
        give_back(username=user.get_username(), address=client_address(request))
        record("log in", user)


@receiver(user_logged_out)
def note_log_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    if request.method is not None and user is not None:
        record("log out", user, actor=replace(by_request(request), name=str(user)))


@receiver(user_login_failed)
def note_failure(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """Each wrong guess, and the first of those that came too soon."""
    turn: Turn | None = getattr(request, TURN, None)
    if request is None or turn is None or (turn.wait and not turn.is_news):
        return
    username = credentials.get("username") or ""
    user = User.objects.filter(username=username).first()
    action = "log-in blocked" if turn.wait else "log-in failed"
    actor = replace(by_request(request), name=user.username if user else NOBODY)
    record(action, user, actor=actor)
