"""How far old data has been cleared away."""

from __future__ import annotations

from django.db import models


class RetentionMark(models.Model):
    """Of which rows some may be gone: what counts them again must not start earlier."""

    step = models.CharField(max_length=50, primary_key=True)
    cleared_before = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.step} before {self.cleared_before:%Y-%m-%d}"
