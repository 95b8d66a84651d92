"""Stored responses, so that a repeated request takes effect only once."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models


def _kept_for() -> timedelta:
    return timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)


class KeptAnswerQuerySet(models.QuerySet["KeptAnswer"]):
    def stale(self, now: datetime) -> KeptAnswerQuerySet:
        """Those whose key may be reused by now."""
        return self.filter(created_at__lte=now - _kept_for())


class KeptAnswer(models.Model):
    """The response to one Idempotency-Key of one caller."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # the unique constraint starts with it
    )
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    location = models.CharField(max_length=200, blank=True, default="")
    body = models.TextField()
    created_at = models.DateTimeField()

    objects = KeptAnswerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "key"], name="one_answer_per_idempotency_key"
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="kept_answer_created")]

    def __str__(self) -> str:
        return f"Answer {self.pk}"

    def is_stale(self, now: datetime) -> bool:
        """Whether its key may be reused by now."""
        return self.created_at <= now - _kept_for()
