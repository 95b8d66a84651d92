"""Who must not get any message."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models

from messaging.addresses import AddressError, parse_address
from messaging.vocabulary import SuppressionReason
from routing.vocabulary import Channel


class Suppression(models.Model):
    """An address that gets nothing any more, on any channel that it is used on."""

    address = models.CharField(max_length=254, unique=True)
    reason = models.PositiveSmallIntegerField(choices=SuppressionReason.choices())
    source = models.CharField(
        max_length=200, blank=True, default="", help_text="Who said so."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_reason_display()} ({self.pk})"

    def clean(self) -> None:
        """Bring the address into the form that messages have, or it would not match."""
        if not self.address:
            return
        channel = Channel.EMAIL if "@" in self.address else Channel.SMS
        try:
            self.address = parse_address(channel, self.address).text
        except AddressError as error:
            raise ValidationError({"address": f"{error}."}) from None
