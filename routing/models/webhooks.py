"""How often providers called us, and with what outcome."""

from __future__ import annotations

from django.db import models

from routing.vocabulary import WebhookOutcome


class WebhookCount(models.Model):
    """The number of a provider's webhook calls with one outcome within an hour."""

    hour = models.DateTimeField(help_text="The beginning of it.")
    provider = models.CharField(
        max_length=100, blank=True, help_text="Blank: a name that no provider has."
    )
    outcome = models.PositiveSmallIntegerField(choices=WebhookOutcome.choices)
    calls = models.PositiveBigIntegerField()
    last_at = models.DateTimeField()
    last_detail = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = "webhook calls"
        verbose_name_plural = "webhook calls"
        ordering = ["-hour", "provider", "outcome"]
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "provider", "outcome"],
                name="one_count_per_hour_provider_and_outcome",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.get_outcome_display()}"
