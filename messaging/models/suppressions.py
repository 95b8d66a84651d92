"""Addresses that must not get messages, or no marketing."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from messaging.addresses import AddressError, address_in
from messaging.vocabulary import SuppressionReason, SuppressionScope
from routing.text.recipient_keys import address_key


def usual_scope(reason: SuppressionReason, address: str) -> SuppressionScope:
    """The scope of a suppression with this reason, unless its source gives one.

    People who unsubscribe from e-mail want no more marketing, but still reset their
    passwords. A STOP by text message ends everything: the carriers enforce that.
    """
    if reason == SuppressionReason.OPTED_OUT and "@" in address:
        return SuppressionScope.MARKETING
    return SuppressionScope.ALL


class Suppression(models.Model):
    """An address that gets no message, or no marketing, on any channel."""

    address = models.CharField(max_length=254, unique=True)
    reason = models.PositiveSmallIntegerField(choices=SuppressionReason.choices)
    scope = models.PositiveSmallIntegerField(
        choices=SuppressionScope.choices,
        default=SuppressionScope.ALL,
        db_default=SuppressionScope.ALL,
        help_text="What is held back.",
    )
    source = models.CharField(
        max_length=200, blank=True, default="", help_text="Who said so."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_reason_display()} ({self.pk})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the address in the form that messages are compared by."""
        self.address = address_key(self.address)
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Normalise the address, or it would not match any message."""
        if not self.address:
            return
        try:
            self.address = address_key(address_in(self.address))
        except AddressError as error:
            raise ValidationError({"address": f"{error}."}) from None
