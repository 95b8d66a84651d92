"""Pauses of providers, planned, in force and past."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from routing.rules.pause import Pause

REASON_LENGTH = 200


class ProviderPauseQuerySet(models.QuerySet["ProviderPause"]):
    def open(self, now: datetime) -> ProviderPauseQuerySet:
        """Those in force, and those planned."""
        not_over = Q(until=None) | Q(until__gt=now)
        return self.filter(not_over, resumed_at=None)

    def in_force(self, now: datetime) -> ProviderPauseQuerySet:
        """Those that keep messages away now."""
        return self.open(now).filter(since__lte=now)


class ProviderPause(models.Model):
    """A time in which a person keeps all messages away from a provider.

    Each provider of MESSAGE_PROVIDERS has one channel, so its name says which. Rows are
    kept when the pause is over.
    """

    provider = models.CharField(max_length=100)
    since = models.DateTimeField(help_text="In the future: planned.")
    until = models.DateTimeField(
        null=True, blank=True, help_text="Blank: until a person resumes it."
    )
    reason = models.CharField(max_length=REASON_LENGTH)
    by = models.CharField(max_length=150, blank=True)
    resumed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a person ended it or called it off."
    )
    resumed_by = models.CharField(max_length=150, blank=True, default="")
    resume_reason = models.CharField(max_length=REASON_LENGTH, blank=True, default="")

    objects = ProviderPauseQuerySet.as_manager()

    class Meta:
        ordering = ["-since", "-id"]
        permissions = [("pause_provider", "Can pause, resume and probe providers")]
        constraints = [
            models.CheckConstraint(
                condition=Q(until=None) | Q(until__gt=F("since")),
                name="pause_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.reason}"

    @property
    def pause(self) -> Pause:
        """The row as the plain value that decisions are made from."""
        return Pause(self.provider, self.since, self.until, self.reason, self.by)
