"""How far old data has been removed."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Max


class RetentionMarkQuerySet(models.QuerySet["RetentionMark"]):
    def latest_cleared(self) -> datetime | None:
        """Data of rows from before this time may be gone; None: all is there."""
        latest: datetime | None = self.aggregate(latest=Max("cleared_before"))["latest"]
        return latest


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
