"""Issuing, rate-limiting and revoking tokens."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from marketing_platform.tokens.models import ApiToken, digest_of
from marketing_platform.tokens.vocabulary import TokenScope
from routing.rules import throttle as gcra
from routing.signals import report

# Scanners for leaked secrets find tokens by it.
MARK = "mp_live_"
_SHOWN = len(MARK) + 6  # 37 characters stay secret: 222 bits


@transaction.atomic
def issue_token(
    *,
    user: User,
    scope: TokenScope,
    expires_at: datetime | None,
    name: str = "",
    own_only: bool = False,
) -> tuple[ApiToken, str]:
    """A new token and its text, which cannot be read again."""
    text = MARK + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=text[:_SHOWN],
        digest=digest_of(text),
        scope=scope,
        own_only=own_only,
        expires_at=expires_at,
    )
    return token, text


def revoke_tokens(tokens: Iterable[ApiToken], *, now: datetime) -> int:
    """End tokens for good; returns how many were not revoked before."""
    ids = [token.pk for token in tokens]
    with transaction.atomic():
        in_use = ApiToken.objects.filter(pk__in=ids, revoked_at=None)
        revoked = list(in_use.select_for_update(no_key=True))
        for token in revoked:
            report("revoke", token)
        in_use.update(revoked_at=now)
    return len(revoked)


def take_turn(token: ApiToken, *, now: datetime) -> timedelta:
    """Count one request of the token; returns how long it must wait, 0 if not at all.

    All web processes share the row, so the limit is for all together. Expects that no
    other request took a turn since the token was read, so that one UPDATE is enough;
    else it reads the row again, under its lock.
    """
    wait = _take(token, now)
    if wait is not None:
        return wait
    with transaction.atomic():
        row = ApiToken.objects.select_for_update(no_key=True).get(pk=token.pk)
        return _take(row, now) or timedelta(0)


def _take(token: ApiToken, now: datetime) -> timedelta | None:
    """The wait, 0 if the turn was taken; None if the row is not as it was read."""
    limit = gcra.Throttle(settings.API_RATE_PER_SECOND, settings.API_BURST, token.tat)
    after = gcra.take(limit, 1, now)
    if after is None:
        return gcra.wait_for(limit, 1, now)
    as_read = ApiToken.objects.filter(pk=token.pk, tat=token.tat)
    return timedelta(0) if as_read.update(tat=after.tat) else None
