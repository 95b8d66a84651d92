"""manage.py issue_token: a key to the API, shown once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.utils import timezone

from marketing_platform.tokens.services import issue_token
from marketing_platform.tokens.vocabulary import (
    TokenScope,
    UnreadableExpiry,
    read_expiry,
)
from routing.terminal import PlainCommand

SCOPES = [scope.name.lower() for scope in TokenScope]


class Command(PlainCommand):
    help = (
        "Issue an API token for a user. Its text is printed to standard output once, "
        "and cannot be shown again. Revoke it in the back office."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--scope",
            choices=SCOPES,
            default="read",
            help="send includes read, admin includes all (default %(default)s)",
        )
        parser.add_argument(
            "--expires",
            default="365d",
            metavar="WHEN",
            help="90d, a date or date-time, or never (default %(default)s)",
        )
        parser.add_argument(
            "--own-only",
            action="store_true",
            help="access only messages and campaigns created by this user's tokens",
        )
        parser.add_argument("--name", default="", help="what will use the token")

    def handle(self, *args: Any, **options: Any) -> None:
        token, text = issue_token(
            user=_active_user(options["username"]),
            scope=TokenScope[options["scope"].upper()],
            expires_at=_expiry(options["expires"], now=timezone.now()),
            name=options["name"][:100],
            own_only=options["own_only"],
        )
        end = token.expires_at
        valid = f"until {end:%Y-%m-%d %H:%M} UTC" if end else "for ever"
        self.stderr.write(f"Scope {options['scope']}, valid {valid}. Keep it:")
        self.stdout.write(text)


def _active_user(username: str) -> User:
    user = User.objects.filter(username=username).first()
    if user is None:
        raise CommandError(
            f"There is no user {username!r}: create one with createsuperuser, or in "
            "the back office."
        )
    if not user.is_active:
        raise CommandError(f"{username} is not active, so no token would work.")
    return user


def _expiry(text: str, *, now: datetime) -> datetime | None:
    try:
        expires_at = read_expiry(text, now=now)
    except UnreadableExpiry as error:
        raise CommandError(str(error)) from None
    if expires_at is not None and expires_at <= now:
        raise CommandError(f"{text} is already in the past.")
    return expires_at
