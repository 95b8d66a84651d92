"""The processes that drain the queue."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models

from messaging.vocabulary import WorkerKind


class WorkerHeartbeatQuerySet(models.QuerySet["WorkerHeartbeat"]):
    def alive(self, now: datetime) -> WorkerHeartbeatQuerySet:
        """Those with a sign of life within STALE_AFTER."""
        return self.filter(beat_at__gt=now - WorkerHeartbeat.STALE_AFTER)


class WorkerHeartbeat(models.Model):
    """A process that drains the queue, and its last sign of life."""

    STALE_AFTER = timedelta(seconds=5)

    owner = models.BigIntegerField(primary_key=True)
    kind = models.PositiveSmallIntegerField(choices=WorkerKind.choices)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    in_flight = models.PositiveIntegerField(default=0)
    clock_skew = models.DurationField(
        default=timedelta(0),
        help_text="How far its host's clock is ahead of the database's.",
    )

    trouble = models.CharField(
        max_length=300,
        blank=True,
        default="",
        db_default="",
        help_text="Why it stands aside and claims nothing, if it does.",
    )
    sends_as = models.JSONField(
        null=True,
        blank=True,
        help_text="The account and sender of each provider that can be asked.",
    )

    objects = WorkerHeartbeatQuerySet.as_manager()

    class Meta:
        ordering = ["-beat_at"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pid} on {self.host}"


class ClusterHeartbeatQuerySet(models.QuerySet["ClusterHeartbeat"]):
    def alive(self, now: datetime) -> ClusterHeartbeatQuerySet:
        """Those that have run a task within STALE_AFTER."""
        return self.filter(beat_at__gt=now - ClusterHeartbeat.STALE_AFTER)


class ClusterHeartbeat(models.Model):
    """A django-q2 cluster, and when it last ran a task to the end."""

    STALE_AFTER = timedelta(seconds=60)

    host = models.CharField(max_length=255)
    process_group = models.PositiveIntegerField(
        help_text="Of all the cluster's processes."
    )
    is_watched = models.BooleanField(
        help_text="Whether a watchdog starts it again when it stalls."
    )
    beat_at = models.DateTimeField()

    objects = ClusterHeartbeatQuerySet.as_manager()

    class Meta:
        ordering = ["host", "process_group"]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "process_group"], name="one_heartbeat_per_cluster"
            ),
        ]

    def __str__(self) -> str:
        return f"Cluster {self.process_group} on {self.host}"
