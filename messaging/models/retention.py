"""How far old data has been removed."""

from __future__ import annotations

from datetime import datetime

from django.db import models


class RetentionMarkQuerySet(models.QuerySet["RetentionMark"]):
    def beyond(self, at: datetime) -> RetentionMarkQuerySet:
        """The steps that may have removed data of a row this old."""
        return self.filter(cleared_before__gt=at)


class RetentionMark(models.Model):
    """The time before which rows, or some of their contents, may be gone.

    A recount must not start earlier. A message older than this is not sent again: its
    text, or whether it was sent, may no longer be known.
    """

    step = models.CharField(max_length=50, primary_key=True)
    cleared_before = models.DateTimeField()

    objects = RetentionMarkQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.step} before {self.cleared_before:%Y-%m-%d}"
