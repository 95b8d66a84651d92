"""Receipts that workers have not applied yet."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class WaitingReceipt(models.Model):
    """A stored receipt that waits for a worker to apply it.

    When it is applied, it becomes a `DeliveryReceipt` and this row is deleted. One that
    cannot be applied is set aside, with the reason, for a person to look at.
    """

    provider = models.CharField(max_length=100)
    event_id = models.CharField(max_length=200)
    receipt = models.JSONField(help_text="As its provider's adapter read it.")
    raw = models.TextField(help_text="As it came.")
    received_at = models.DateTimeField()
    set_aside_at = models.DateTimeField(
        null=True, blank=True, help_text="When it failed alone. Null: it waits."
    )
    problem = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "event_id"], name="each_receipt_waits_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(set_aside_at__isnull=True),
                name="receipt_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"Receipt {self.event_id} of {self.provider}"
