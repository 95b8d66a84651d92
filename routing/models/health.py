"""The health of the providers, shared by all workers."""

from __future__ import annotations

from datetime import UTC, datetime

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from routing.rules.breaker import (
    ERROR_LENGTH,
    Breaker,
    BreakerState,
    from_row,
    to_row,
)
from routing.rules.delivery_rate import Evidence
from routing.rules.retry_budget import Sends
from routing.rules.throttle import Throttle
from routing.vocabulary import Channel


class ProviderHealth(models.Model):
    """The circuit breaker of a provider on a channel, shared by all workers.

    The provider's first failure creates the row; without one it is healthy.
    """

    provider = models.CharField(max_length=100)
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    state = models.PositiveSmallIntegerField(
        choices=BreakerState.choices, default=BreakerState.CLOSED
    )
    reason = models.CharField(max_length=200, blank=True, default="")
    buckets = models.JSONField(default=list, blank=True)
    failures_in_a_row = models.PositiveIntegerField(default=0)
    opened_count = models.PositiveSmallIntegerField(default=0)
    open_until = models.DateTimeField(null=True, blank=True)
    probe_until = models.DateTimeField(null=True, blank=True)
    probe_successes = models.PositiveSmallIntegerField(default=0)
    closed_at = models.DateTimeField(null=True, blank=True)
    out_since = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(
        max_length=ERROR_LENGTH, blank=True, default="", db_default=""
    )
    return_tat = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="How much of its rate is used up while messages come back.",
    )
    sends = models.JSONField(
        default=list,
        blank=True,
        help_text="First sends and failed retries, per two seconds.",
    )

    class Meta:
        verbose_name_plural = "provider health"
        ordering = ["provider", "channel"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "channel"], name="one_health_per_provider"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.get_state_display()}"

    @property
    def breaker(self) -> Breaker:
        """The row as the plain value that decisions are made from."""
        return from_row(vars(self))

    @property
    def recent_sends(self) -> list[Sends]:
        """The provider's sends of the last seconds, for its retry budget."""
        return [Sends(*each) for each in self.sends]

    def save_breaker(self, breaker: Breaker) -> None:
        """Save a new state of the breaker; the caller holds the row's lock."""
        for name, value in to_row(breaker).items():
            setattr(self, name, value)
        self.save()


class ProviderThrottle(models.Model):
    """How fast a provider may be used, by all workers together.

    Without a row there is no limit; a provider's first 429 creates one.
    """

    provider = models.CharField(max_length=100, unique=True)
    rate_per_second = models.FloatField(
        validators=[MinValueValidator(0.001)],
        default=1000.0,
        help_text="Messages, or segments, per second.",
    )
    burst = models.FloatField(
        validators=[MinValueValidator(1.0)],
        default=1.0,
        help_text="How many may go at once after a rest.",
    )
    counts_segments = models.BooleanField(
        default=False, help_text="Whether the provider counts segments, not messages."
    )
    max_concurrency = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Calls at the same time, by all workers together. Blank: no limit.",
    )
    tat = models.DateTimeField(null=True, blank=True, editable=False)
    factor = models.FloatField(default=1.0, editable=False)
    slowed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["provider"]
        constraints = [
            models.CheckConstraint(
                condition=Q(rate_per_second__gt=0, burst__gt=0),
                name="throttle_rate_and_burst_are_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.rate_per_second:g}/s"

    @property
    def throttle(self) -> Throttle:
        """The row as the plain value that decisions are made from."""
        return Throttle(
            self.rate_per_second, self.burst, self.tat, self.factor, self.slowed_at
        )

    def save_throttle(self, throttle: Throttle) -> None:
        """Save how much is used up; the caller holds the row's lock."""
        self.tat, self.factor = throttle.tat, throttle.factor
        self.slowed_at = throttle.slowed_at
        self.save(update_fields=["tat", "factor", "slowed_at"])


class DeliveryQuality(models.Model):
    """How many of a provider's messages were delivered, by receipts, with a decay.

    A blank country stands for all countries together.
    """

    provider = models.CharField(max_length=100)
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    country = models.CharField(max_length=2, blank=True, default="")
    successes = models.FloatField(default=0.0)
    failures = models.FloatField(default=0.0)
    updated_at = models.DateTimeField()
    overdue = models.JSONField(
        default=list,
        blank=True,
        help_text="Messages without a verdict, by the minute that they were accepted.",
    )
    overdue_counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "delivery quality"
        ordering = ["channel", "provider", "country"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "channel", "country"],
                name="one_quality_per_provider_and_country",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.country}".strip()

    @property
    def evidence(self) -> Evidence:
        """The row as the plain value that scores are made from."""
        return Evidence(self.successes, self.failures, self.updated_at)

    @property
    def overdue_by_minute(self) -> list[tuple[datetime, int]]:
        """Messages without a verdict, by the minute in which they were accepted."""
        return [
            (datetime.fromtimestamp(minute, UTC), count)
            for minute, count in self.overdue
        ]

    def save_evidence(self, evidence: Evidence) -> None:
        """Save the evidence; the caller holds the row's lock."""
        self.successes, self.failures = evidence.successes, evidence.failures
        self.updated_at = evidence.updated_at
        self.save(update_fields=["successes", "failures", "updated_at"])
