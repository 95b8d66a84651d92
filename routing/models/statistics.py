"""Statistics, counted as attempts and receipts happen."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

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
    counted_at = models.DateTimeField(
        null=True,
        db_default=Now(),
        help_text="Null: a sum, or a correction of an earlier count.",
    )
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


class MinuteCount(models.Model):
    """What was counted within a minute, of a channel and a provider.

    For screens of the last hours, and only as long as those need it: days are kept in
    StatisticsEntry, whose compaction writes this. Two rows may share a minute, a
    channel and a provider; their sum counts.
    """

    minute = models.DateTimeField(help_text="The beginning of it.")
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    provider = models.CharField(
        max_length=100, blank=True, help_text="Blank where there is none yet."
    )
    attempts = models.BigIntegerField(default=0)
    accepted = models.BigIntegerField(default=0, help_text="Of the attempts.")
    unknown = models.BigIntegerField(default=0, help_text="Of the attempts.")
    queued = models.BigIntegerField(default=0, help_text="Messages, as the following.")
    sent = models.BigIntegerField(default=0)
    delivered = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0, help_text="And those that bounced.")

    class Meta:
        ordering = ["-minute", "channel", "provider"]
        indexes = [models.Index(fields=["minute"], name="minute_count_minute")]

    def __str__(self) -> str:
        return f"{self.minute:%H:%M} {self.get_channel_display()} {self.provider}"
