"""The health of the providers, and how fast they may be used."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin
from django.utils import timezone

from routing.admin.bases import (
    BoundedAdmin,
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
    is_small = True
    list_display = [
        "provider",
        "channel",
        "state",
        "why",
        "out_of_use_until",
        "opened_count",
        "back_since",
    ]
    list_filter = ["channel", "state"]
    fields = (
        *("provider", "channel", "state", "reason", "calls", "failures_in_a_row"),
        *("opened_count", "out_of_use_until", "probe_until", "probe_successes"),
        *("back_since", "retries"),
    )

    @admin.display(description="calls of the last minute")
    def calls(self, health: ProviderHealth) -> str:
        """As its breaker counts them: none while it is out of use."""
        buckets = health.breaker.buckets
        succeeded = sum(each.successes for each in buckets)
        failed = sum(each.failures for each in buckets)
        return f"{succeeded:,} succeeded, {failed:,} failed"

    @admin.display(description="retries that may still fail")
    def retries(self, health: ProviderHealth) -> str:
        """The rest of its retry budget."""
        return f"{remaining_now(health.recent_sends, timezone.now()):,}"

    @admin.display(description="reason")
    def why(self, health: ProviderHealth) -> str:
        """Why it is out of use, or in use despite failures."""
        return clipped(health.reason, 40)

    @admin.display(description="out of use until", ordering="open_until")
    def out_of_use_until(self, health: ProviderHealth) -> datetime | None:
        """When the breaker next lets a message try the provider."""
        return health.open_until

    @admin.display(description="back in use since", ordering="closed_at")
    def back_since(self, health: ProviderHealth) -> datetime | None:
        """When the breaker closed."""
        return health.closed_at


@admin.register(DeliveryQuality)
class QualityAdmin(ReadOnlyAdmin):
    is_small = True
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
        """The share by receipts; a route's explanation shows the estimate in use."""
        known = quality.successes + quality.failures
        return percent(quality.successes / known) if known else "-"

    @admin.display(description="receipts")
    def receipts(self, quality: DeliveryQuality) -> str:
        """How many it is based on; older ones count less and less."""
        return f"{quality.successes + quality.failures:.0f}"

    @admin.display(description="without a verdict")
    def waiting(self, quality: DeliveryQuality) -> str:
        """How many, by the minute in which they were accepted."""
        minutes = (
            (timezone.localtime(at), count) for at, count in quality.overdue_by_minute
        )
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
class ThrottleAdmin(BoundedAdmin):
    is_small = True
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
