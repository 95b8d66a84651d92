"""Acts on many messages, worked off in batches."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from messaging.vocabulary import BulkAct, JobState

OPEN = (JobState.WAITING, JobState.RUNNING)


class BulkJobQuerySet(models.QuerySet["BulkJob"]):
    def open(self) -> BulkJobQuerySet:
        """Those that are not over."""
        return self.filter(state__in=OPEN)


class BulkJob(models.Model):
    """What a person wants done with many messages, and what came of it.

    Its messages are chosen when it is asked for: later ones are not touched, whatever
    the filter was.
    """

    act = models.PositiveSmallIntegerField(choices=BulkAct.choices)
    chosen_by = models.CharField(
        max_length=500, blank=True, help_text="The filter, in words."
    )
    reason = models.CharField(max_length=300)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    asked_by = models.CharField(
        max_length=150, help_text="Kept when the user is deleted."
    )
    state = models.PositiveSmallIntegerField(
        choices=JobState.choices, default=JobState.WAITING
    )
    count = models.PositiveBigIntegerField(default=0, help_text="Messages chosen.")
    done = models.PositiveBigIntegerField(default=0)
    refused = models.JSONField(
        default=dict, blank=True, help_text="How many were left alone, by reason."
    )
    error = models.CharField(max_length=500, blank=True, default="")
    failures = models.PositiveSmallIntegerField(
        default=0, help_text="Of batches, by errors that may pass."
    )
    asked_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = BulkJobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["id"], condition=Q(state__in=OPEN), name="bulk_job_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_act_display()}: {self.count:,} messages"

    @property
    def is_open(self) -> bool:
        """Whether there may be more to do."""
        return self.state in OPEN

    @property
    def left_alone(self) -> int:
        """How many were refused."""
        return sum(self.refused.values())

    @property
    def seen(self) -> int:
        """How many it has come to."""
        return self.done + self.left_alone


class BulkJobMessage(models.Model):
    """A message that a bulk job was asked to act on.

    Kept as long as the job: the message's page shows who acted on it, and why. Without
    a foreign key to it, which would hold up the deletion of old messages.
    """

    job = models.ForeignKey(BulkJob, on_delete=models.CASCADE, related_name="messages")
    message_id = models.BigIntegerField(db_index=True)
    is_done = models.BooleanField(
        default=False, help_text="The job has come to it, and acted or refused."
    )

    class Meta:
        indexes = [
            models.Index(
                fields=["job", "id"],
                condition=Q(is_done=False),
                name="bulk_job_to_do",
            )
        ]

    def __str__(self) -> str:
        return f"Message {self.message_id} of job {self.job_id}"
