"""How the providers are doing, and how fast they may be used."""

from __future__ import annotations

from django.contrib import admin
from django.utils import timezone

from routing.admin.bases import (
    ProviderFilter,
    ProviderForm,
    ReadOnlyAdmin,
    clipped,
)
from routing.models import DeliveryQuality, ProviderHealth, ProviderThrottle
from routing.rules.figures import percent
from routing.rules.retry_budget import remaining_now


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
    fields = (
        *("provider", "channel", "state", "reason", "calls", "failures_in_a_row"),
        *("opened_count", "open_until", "probe_until", "probe_successes", "closed_at"),
        "retries",
    )

    @admin.display(description="calls that its breaker counts")
    def calls(self, health: ProviderHealth) -> str:
        """Those of the last while; an open breaker counts none."""
        buckets = health.breaker.buckets
        succeeded = sum(each.successes for each in buckets)
        failed = sum(each.failures for each in buckets)
        return f"{succeeded:,} succeeded, {failed:,} failed"

    @admin.display(description="retries that may fail now")
    def retries(self, health: ProviderHealth) -> str:
        """What is left of its retry budget."""
        return f"{remaining_now(health.recent_sends, timezone.now()):,}"

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
    fields = (
        *("provider", "channel", "country", "delivered", "receipts", "updated_at"),
        *("waiting", "overdue_counted_at"),
    )

    @admin.display(description="delivered")
    def delivered(self, quality: DeliveryQuality) -> str:
        """The share as receipts tell it; a route's explanation has what it counts."""
        known = quality.successes + quality.failures
        return percent(quality.successes / known) if known else "-"

    @admin.display(description="receipts")
    def receipts(self, quality: DeliveryQuality) -> str:
        """How many it rests on; older ones count less and less."""
        return f"{quality.successes + quality.failures:.0f}"

    @admin.display(description="without a verdict")
    def waiting(self, quality: DeliveryQuality) -> str:
        """How many, by the minute in which they were accepted."""
        minutes = ((timezone.localtime(at), count) for at, count in quality.silence)
        listed = [f"{count:,} of {minute:%Y-%m-%d %H:%M}" for minute, count in minutes]
        return ", ".join(listed) or "none"


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
