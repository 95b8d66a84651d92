"""The tokens with which programs use the API."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q

from marketing_platform.tokens.vocabulary import TokenScope, scopes_within

# The precision of "last used": a write per request would cost more than it is worth.
LAST_USED_RESOLUTION = timedelta(minutes=1)


def digest_of(text: str) -> str:
    """The stored form of a token. It is random enough to need no salt and no rounds."""
    return hashlib.sha256(text.encode()).hexdigest()


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def of_text(self, text: str) -> ApiToken | None:
        """The token with this text, whether or not it still works."""
        return (
            self.select_related("user").filter(digest=digest_of(text)).first()
        )  # the index is searched by digest, so its timing reveals nothing about a text

    def note_use(self, token: ApiToken, *, now: datetime) -> None:
        """Save the time of use, at most once a minute."""
        if token.last_used_at and now - token.last_used_at < LAST_USED_RESOLUTION:
            return
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now)
        self.filter(stale, pk=token.pk).update(last_used_at=now)


class ApiToken(models.Model):
    """A program's key to the API, acting for a user.

    Its text is shown once, when it is issued; only the digest is stored.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(
        max_length=100, blank=True, default="", help_text="What uses it."
    )
    prefix = models.CharField(max_length=20, help_text="How its text begins.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scope = models.SmallIntegerField(
        choices=TokenScope.choices, default=TokenScope.READ
    )
    own_only = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Sees and touches only what was made in the name of its user.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    # Its share of the rate limit, as in routing/rules/throttle.py.
    tat = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    def problem(self, now: datetime) -> str:
        """Why it is not valid now; "" if it is. Reads its user."""
        if self.revoked_at is not None:
            return "This token was revoked."
        if self.expires_at is not None and self.expires_at <= now:
            return f"This token expired at {self.expires_at:%Y-%m-%d %H:%M} UTC."
        return "" if self.user.is_active else "The user of this token is not active."

    @property
    def bound_to(self) -> int | None:
        """The only user whose messages and campaigns it sees; None: all users."""
        return self.user_id if self.own_only else None

    def allows(self, scope: TokenScope) -> bool:
        """Whether it may do what needs this scope."""
        return scope in scopes_within(self.scope)
