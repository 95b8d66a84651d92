"""How the providers are doing, and how fast they may be used."""

from __future__ import annotations

from django.contrib import admin

from routing.admin.bases import (
    ProviderFilter,
    ProviderForm,
    ReadOnlyAdmin,
    clipped,
)
from routing.models import DeliveryQuality, ProviderHealth, ProviderThrottle
from routing.rules.figures import percent


@admin.register(ProviderHealth)
class HealthAdmin(ReadOnlyAdmin):
    list_display = [
        "provider",
        "channel",
        "state",
        "why",
        "open_until",
        "opened_count",
        "closed_at",
    ]
    list_filter = ["channel", "state"]

    @admin.display(description="reason")
    def why(self, health: ProviderHealth) -> str:
        """What it opened for, or why it stays closed."""
        return clipped(health.reason, 40)


@admin.register(DeliveryQuality)
class QualityAdmin(ReadOnlyAdmin):
    list_display = [
        "provider",
        "channel",
        "country",
        "delivered",
        "receipts",
        "updated_at",
    ]
    list_filter = ["channel", ProviderFilter]

    @admin.display(description="delivered")
    def delivered(self, quality: DeliveryQuality) -> str:
        """The share as receipts tell it; a route's explanation has what it counts."""
        known = quality.successes + quality.failures
        return percent(quality.successes / known) if known else "-"

    @admin.display(description="receipts")
    def receipts(self, quality: DeliveryQuality) -> str:
        """How many it rests on; older ones count less and less."""
        return f"{quality.successes + quality.failures:.0f}"


class ThrottleForm(ProviderForm):
    class Meta:
        model = ProviderThrottle
        fields = [
            "provider",
            "rate_per_second",
            "burst",
            "counts_segments",
            "max_concurrency",
        ]


@admin.register(ProviderThrottle)
class ThrottleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = ThrottleForm
    list_display = [
        "provider",
        "rate_per_second",
        "burst",
        "counts_segments",
        "max_concurrency",
        "factor",
        "slowed_at",
    ]
