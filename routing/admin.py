"""The back office of routing: routes are edited, what happened is only read."""

from __future__ import annotations

from random import Random
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

from routing.explain import UnusableAddress, explain, parcel_to
from routing.models import (
    ChannelRoutingConfig,
    DeliveryQuality,
    DeliveryReceipt,
    FurtherProvider,
    MessageDeliveryAttempt,
    ProviderHealth,
    ProviderThrottle,
    Rate,
)
from routing.planner import Planner
from routing.providers.registry import registry
from routing.vocabulary import CampaignKind, Channel


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """Offers the providers of MESSAGE_PROVIDERS, with the channel each one serves."""

    provider_fields: tuple[str, ...] = ("provider",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who may only look gets a form without fields.
        for name in set(self.provider_fields) & set(self.fields):
            field = self.fields[name]
            self.fields[name] = forms.ChoiceField(
                choices=_provider_choices(getattr(self.instance, name)),
                required=field.required,
                label=field.label,
                help_text=field.help_text,
            )


class RouteForm(ProviderForm):
    """A route's own fields; its further providers are an inline."""

    provider_fields = ("primary_provider", "fallback_provider")

    class Meta:
        model = ChannelRoutingConfig
        fields = [
            "channel",
            "country",
            "dial_prefix",
            "campaign_kind",
            "is_active",
            "priority",
            "routing_strategy",
            "primary_provider",
            "fallback_provider",
            "primary_weight",
            "fallback_weight",
            "enable_fallback",
            "maximum_cost",
            "currency",
            "minimum_quality",
            "max_retries",
            "retry_strategy",
            "initial_retry_delay_seconds",
            "max_retry_delay_seconds",
            "custom_retry_policy",
            "unknown_outcome_policy",
        ]


def _provider_choices(present: str) -> list[tuple[str, str]]:
    """All providers, and the present one although its name may be gone."""
    names = registry.names()
    choices = [("", "---------")]
    choices += [
        (name, f"{name} ({registry.provider_class(name).channel.label})")
        for name in names
    ]
    if present and present not in names:
        choices.append((present, f"{present} (not in MESSAGE_PROVIDERS)"))
    return choices


class ProviderFilter(admin.SimpleListFilter):
    """By provider. Django's own would look for the names in every row there is."""

    title = parameter_name = "provider"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The providers of MESSAGE_PROVIDERS."""
        return [(name, name) for name in registry.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen provider, or all."""
        name = self.value()
        if name and "\0" in name:  # PostgreSQL would refuse to look for it
            return queryset.none()
        return queryset.filter(provider=name) if name else queryset


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """For what is evidence: looked at, never changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: object | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: object | None = None
    ) -> bool:
        return False


class FurtherProviderForm(ProviderForm):
    class Meta:
        model = FurtherProvider
        fields = ["position", "provider", "weight"]


class FurtherProviderInline(admin.TabularInline):  # type: ignore[type-arg]
    """The providers of a route after its first two."""

    model = FurtherProvider
    form = FurtherProviderForm
    extra = 0


class ExplainForm(forms.Form):
    """The message whose way is asked for."""

    channel = forms.TypedChoiceField(
        choices=Channel.choices(), coerce=lambda value: Channel(int(value))
    )
    to = forms.CharField(
        max_length=254, help_text="A number such as +491511234567, or an address."
    )
    kind = forms.TypedChoiceField(
        choices=CampaignKind.choices(),
        coerce=lambda value: CampaignKind(int(value)),
        required=False,
        label="Kind of campaign",
    )
    body = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text="Its length decides the price.",
    )

    def clean(self) -> dict[str, Any]:
        """The fields, and the parcel that they make."""
        if self.errors:
            return self.cleaned_data
        kind = self.cleaned_data["kind"] or CampaignKind.MARKETING
        try:
            return {"parcel": parcel_to(**self.cleaned_data | {"kind": kind})}
        except UnusableAddress as error:
            raise forms.ValidationError({"to": str(error)}) from None


@admin.register(ChannelRoutingConfig)
class RouteAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = RouteForm
    change_list_template = "admin/routing/channelroutingconfig/change_list.html"
    inlines = [FurtherProviderInline]
    list_display = [
        "channel",
        "route_scope",
        "routing_strategy",
        "primary_provider",
        "fallback_provider",
        "is_active",
        "priority",
        "enable_fallback",
        "retry_strategy",
        "max_retries",
    ]
    list_display_links = ["channel", "primary_provider"]
    list_filter = ["channel", "is_active", "routing_strategy"]
    fieldsets = [
        (None, {"fields": ["channel", "is_active", "priority"]}),
        (
            "For which messages (blank: all of the channel)",
            {"fields": ["country", "dial_prefix", "campaign_kind"]},
        ),
        (
            "Providers",
            {
                "fields": [
                    "routing_strategy",
                    "primary_provider",
                    "primary_weight",
                    "fallback_provider",
                    "fallback_weight",
                    "enable_fallback",
                ]
            },
        ),
        ("Limits", {"fields": ["maximum_cost", "currency", "minimum_quality"]}),
        (
            "Retries",
            {
                "fields": [
                    "retry_strategy",
                    "max_retries",
                    "initial_retry_delay_seconds",
                    "max_retry_delay_seconds",
                    "custom_retry_policy",
                ]
            },
        ),
        ("When nobody can say", {"fields": ["unknown_outcome_policy"]}),
    ]

    @admin.display(description="for")
    def route_scope(self, route: ChannelRoutingConfig) -> str:
        """Which messages of its channel it is for."""
        return str(route.scope)

    def get_urls(self) -> list[Any]:
        """Those of every model, and the screen that explains a route."""
        view = self.admin_site.admin_view(self.explain)
        return [path("explain/", view, name="routing_explain"), *super().get_urls()]

    def explain(self, request: HttpRequest) -> TemplateResponse:
        """Which provider a message would go to now, and why. Writes nothing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = ExplainForm(request.GET or None)
        explanation = None
        if form.is_valid():
            explanation = explain(
                form.cleaned_data["parcel"],
                planner=Planner(rng=Random()),  # noqa: S311 - no secret
                now=timezone.now(),
            )
        context = {
            **self.admin_site.each_context(request),
            "title": "Explain a route",
            "opts": self.opts,
            "form": form,
            "explanation": explanation,
        }
        return TemplateResponse(
            request, "admin/routing/channelroutingconfig/explain.html", context
        )


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


@admin.register(MessageDeliveryAttempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "attempted_at",
        "message",
        "attempt_number",
        "provider",
        "outcome",
        "error_code",
        "error_class",
        "fallback_reason",
        "cost",
        "currency",
        "response_time_ms",
    ]
    list_filter = [
        "channel",
        ProviderFilter,
        "outcome",
        "error_class",
        "fallback_reason",
        "is_late",
    ]
    search_fields = ["=message__id", "=external_message_id"]
    ordering = ["-id"]
    list_select_related = ["message"]
    show_full_result_count = False


@admin.register(DeliveryReceipt)
class ReceiptAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "message",
        "attempt_number",
        "provider",
        "provider_status",
        "status",
        "error_code",
        "occurred_at",
        "received_at",
    ]
    list_filter = [ProviderFilter, "status"]
    search_fields = ["=message__id", "=external_message_id"]
    ordering = ["-id"]
    list_select_related = ["message"]
    show_full_result_count = False


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
class RateAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """For a look, and for one price; `manage.py import_rates` takes a whole deck."""

    form = RateForm
    list_display = [
        "provider",
        "channel",
        "dial_prefix",
        "country",
        "price",
        "currency",
        "valid_from",
        "updated_at",
    ]
    list_display_links = ["dial_prefix", "country"]
    list_filter = ["channel", ProviderFilter, "valid_from"]
    search_fields = ["dial_prefix__startswith", "=country"]
    search_help_text = "How a dial prefix begins, or a country such as GB"
    show_full_result_count = False
