"""The providers' prices."""

from __future__ import annotations

from django.contrib import admin

from routing.admin.bases import (
    BoundedActions,
    ProviderFilter,
    ProviderForm,
)
from routing.models import Rate
from routing.money import Money


class RateForm(ProviderForm):
    class Meta:
        model = Rate
        fields = [
            "provider",
            "channel",
            "dial_prefix",
            "country",
            "price",
            "currency",
            "valid_from",
        ]


@admin.register(Rate)
class RateAdmin(BoundedActions):
    """For single prices; `manage.py import_rates` imports a whole deck."""

    form = RateForm
    list_display = [
        "provider",
        "channel",
        "dial_prefix",
        "country",
        "cost",
        "valid_from",
    ]
    list_display_links = ["dial_prefix", "country"]
    list_filter = ["channel", ProviderFilter, "valid_from"]
    search_fields = ["dial_prefix__startswith", "=country"]
    search_help_text = "The start of a dial prefix, or a country such as GB"

    @admin.display(description="price")
    def cost(self, rate: Rate) -> str:
        """With its currency, without trailing zeros."""
        return str(Money(rate.price, rate.currency))
