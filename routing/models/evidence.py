"""What happened: attempts to send, and what providers reported about them later."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from routing.models.indexes import TimeIndex
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ErrorClass,
    FallbackReason,
    MessageStatus,
)


class MessageDeliveryAttempt(models.Model):
    """One attempt to send a message by a provider, and its result.

    Append-only. A result that arrives after the worker lost its lease is kept beside
    the Unknown attempt that recovery wrote, and marked late.
    """

    message = models.ForeignKey(
        "messaging.CampaignMessage",
        on_delete=models.PROTECT,
        related_name="attempts",
        db_index=False,  # the unique constraint starts with it
    )
    attempt_number = models.PositiveSmallIntegerField(help_text="Counts from 1.")
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    provider = models.CharField(max_length=100)
    attempted_at = models.DateTimeField()
    outcome = models.PositiveSmallIntegerField(choices=AttemptOutcome.choices)
    external_message_id = models.CharField(max_length=200, blank=True, default="")
    error_class = models.PositiveSmallIntegerField(
        choices=ErrorClass.choices, null=True, blank=True
    )
    error_code = models.CharField(max_length=100, blank=True, default="")
    error_message = models.CharField(max_length=500, blank=True, default="")
    cost = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    response_time_ms = models.PositiveIntegerField(null=True, blank=True)
    fallback_reason = models.PositiveSmallIntegerField(
        choices=FallbackReason.choices, null=True, blank=True
    )
    decision = models.JSONField(default=dict, blank=True)
    is_retry = models.BooleanField(
        default=False, help_text="Of a later round than the message's first."
    )
    is_late = models.BooleanField(default=False)

    class Meta:
        verbose_name = "delivery attempt"
        ordering = ["message_id", "attempt_number", "is_late"]
        constraints = [
            models.UniqueConstraint(
                fields=["message", "attempt_number", "is_late"],
                name="one_attempt_per_message_and_number",
            ),
            models.CheckConstraint(
                condition=Q(attempt_number__gte=1), name="attempts_count_from_one"
            ),
            models.CheckConstraint(
                condition=Q(cost__isnull=True, currency="")
                | Q(cost__isnull=False) & ~Q(currency=""),
                name="attempt_cost_has_a_currency",
            ),
        ]
        indexes = [
            models.Index(
                fields=["provider", "external_message_id"],
                condition=~Q(external_message_id=""),
                name="attempt_external_id",
            ),
            TimeIndex(fields=["attempted_at"], name="attempt_time"),
        ]

    def __str__(self) -> str:
        return f"Attempt {self.attempt_number} by {self.provider}"


class DeliveryReceipt(models.Model):
    """What a provider reported later about a message, as received and as we read it."""

    provider = models.CharField(max_length=100)
    event_id = models.CharField(max_length=200)
    message = models.ForeignKey(
        "messaging.CampaignMessage",
        on_delete=models.PROTECT,
        related_name="receipts",
        null=True,
        blank=True,
    )
    attempt_number = models.PositiveSmallIntegerField(null=True, blank=True)
    external_message_id = models.CharField(max_length=200, blank=True, default="")
    status = models.PositiveSmallIntegerField(
        choices=MessageStatus.choices, null=True, blank=True
    )
    provider_status = models.CharField(max_length=50)
    error_class = models.PositiveSmallIntegerField(
        choices=ErrorClass.choices, null=True, blank=True
    )
    error_code = models.CharField(max_length=100, blank=True, default="")
    error_message = models.CharField(max_length=500, blank=True, default="")
    cost = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    occurred_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField()
    raw = models.TextField()

    class Meta:
        ordering = ["received_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "event_id"], name="each_receipt_counts_once"
            ),
        ]
        indexes = [models.Index(fields=["received_at"], name="receipt_received")]

    def __str__(self) -> str:
        return f"{self.provider} says {self.provider_status}"
