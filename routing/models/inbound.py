"""Messages from handsets to us."""

from __future__ import annotations

from django.db import models

from routing.vocabulary import Keyword


class InboundMessage(models.Model):
    """A message from a handset to one of our numbers, as received and as we read it."""

    provider = models.CharField(max_length=100)
    event_id = models.CharField(max_length=200)
    sender = models.CharField(max_length=200, help_text="Who wrote: an E.164 number.")
    recipient = models.CharField(
        max_length=200, blank=True, default="", help_text="Our number."
    )
    text = models.TextField(blank=True, default="")
    keyword = models.PositiveSmallIntegerField(
        choices=Keyword.choices, null=True, blank=True
    )
    received_at = models.DateTimeField()
    raw = models.TextField()

    class Meta:
        ordering = ["-received_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "event_id"], name="each_inbound_counts_once"
            ),
        ]
        indexes = [
            models.Index(fields=["received_at"], name="inbound_received"),
            models.Index(fields=["sender"], name="inbound_sender"),
        ]

    def __str__(self) -> str:
        return f"Inbound message {self.pk}"
