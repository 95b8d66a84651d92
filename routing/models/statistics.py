"""Statistics, counted as attempts and receipts happen."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from routing.vocabulary import Channel


class StatisticsEntry(models.Model):
    """Part of the tally of a day, a channel and a provider.

    Any number of entries may share these three: their sum counts. Entries are only
    ever added, so that no worker waits for another one; compacting replaces many by
    one with the same sum (`routing.statistics.entries`).
    """

    day = models.DateField(help_text="In UTC.")
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    provider = models.CharField(
        max_length=100, blank=True, help_text="Blank where there is none yet."
    )
    tally = models.JSONField()
    is_folded = models.BooleanField(default=False)

    class Meta:
        verbose_name = verbose_name_plural = "statistics"
        ordering = ["-day", "channel", "provider"]
        indexes = [
            models.Index(fields=["day", "channel"], name="statistics_by_day"),
            models.Index(
                fields=["id"],
                condition=Q(is_folded=False),
                name="statistics_to_be_folded",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.get_channel_display()} {self.provider}".strip()
