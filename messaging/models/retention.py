"""How far old data has been cleared away."""

from __future__ import annotations

from datetime import datetime

from django.db import models


class RetentionMarkQuerySet(models.QuerySet["RetentionMark"]):
    def beyond(self, at: datetime) -> RetentionMarkQuerySet:
        """The steps that may have cleared away something of a row that old."""
        return self.filter(cleared_before__gt=at)


class RetentionMark(models.Model):
    """Of which rows some, or some of what they held, may be gone.

    Who counts rows again must not start earlier, and a message that old is not sent
    again: what it said, or whether it was sent, may be known no longer.
    """

    step = models.CharField(max_length=50, primary_key=True)
    cleared_before = models.DateTimeField()

    objects = RetentionMarkQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.step} before {self.cleared_before:%Y-%m-%d}"
