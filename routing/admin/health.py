"""How the providers are doing, and how fast they may be used."""

from __future__ import annotations

from django.contrib import admin

from routing.admin.bases import ProviderFilter, ProviderForm, ReadOnlyAdmin
from routing.models import DeliveryQuality, ProviderHealth, ProviderThrottle


@admin.register(ProviderHealth)
class HealthAdmin(ReadOnlyAdmin):
    list_display = [
        "provider",
        "channel",
        "state",
        "reason",
        "open_until",
        "opened_count",
        "closed_at",
    ]
    list_filter = ["channel", "state"]


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
        return f"{quality.successes / known:.1%}" if known else "-"

    @admin.display(description="receipts that still count")
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
