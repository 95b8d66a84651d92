"""Routes, and the screen that explains where a message would go."""

from __future__ import annotations

from random import Random
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

from routing.admin.bases import BoundedAdmin, ProviderForm
from routing.decision.explain import (
    UnusableAddress,
    explain,
    rate_in_words,
    request_to,
    retries_in_words,
)
from routing.decision.planner import Planner
from routing.models import ChannelRoutingConfig, FurtherProvider
from routing.rules.figures import percent
from routing.vocabulary import CampaignKind, Channel


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


class FurtherProviderForm(ProviderForm):
    class Meta:
        model = FurtherProvider
        fields = ["position", "provider", "weight"]


class FurtherProviderInline(admin.StackedInline):  # type: ignore[type-arg]
    """The providers of a route after its first two.

    Not in a table: its fields would have no labels of their own.
    """

    model = FurtherProvider
    form = FurtherProviderForm
    fields = [("position", "provider", "weight")]
    extra = 0


class ExplainForm(forms.Form):
    """The message to explain."""

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
        """The fields as a routing request."""
        if self.errors:
            return self.cleaned_data
        kind = self.cleaned_data["kind"] or CampaignKind.MARKETING
        try:
            return {"routing_request": request_to(**self.cleaned_data | {"kind": kind})}
        except UnusableAddress as error:
            raise forms.ValidationError({"to": str(error)}) from None


@admin.register(ChannelRoutingConfig)
class RouteAdmin(BoundedAdmin):
    is_small = True
    form = RouteForm
    change_list_template = "admin/routing/channelroutingconfig/change_list.html"
    inlines = [FurtherProviderInline]
    readonly_fields = ["retry_times"]
    list_display = [
        "channel",
        "route_scope",
        "strategy",
        "primary_provider",
        "falls_back_to",
        "is_active",
        "priority",
        "retries",
    ]
    list_display_links = ["channel", "primary_provider"]
    list_filter = ["channel", "is_active", "routing_strategy"]
    fieldsets = [
        (None, {"fields": ["channel", "is_active", "priority"]}),
        (
            "Only for these messages (blank: all of the channel)",
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
                    "retry_times",
                ]
            },
        ),
        ("If the outcome is unknown", {"fields": ["unknown_outcome_policy"]}),
    ]

    @admin.display(description="when it is tried again")
    def retry_times(self, route: ChannelRoutingConfig) -> str:
        """The times, if a provider fails each time; as saved."""
        jitter = (
            f"Each delay is up to {percent(settings.RETRY_JITTER, digits=0)} longer"
        )
        return (
            f"{route.retry_times} {jitter}, by chance. Failures with times of their "
            "own, such as a handset that is off, go by the retry table."
        )

    @admin.display(description="for")
    def route_scope(self, route: ChannelRoutingConfig) -> str:
        """Which messages of its channel it is for."""
        return str(route.scope)

    @admin.display(description="strategy", ordering="routing_strategy")
    def strategy(self, route: ChannelRoutingConfig) -> str:
        """How it picks among its providers."""
        return route.get_routing_strategy_display()

    @admin.display(description="fallback", ordering="fallback_provider")
    def falls_back_to(self, route: ChannelRoutingConfig) -> str:
        """The provider to fall back to, and whether that is switched off."""
        if not route.fallback_provider or route.enable_fallback:
            return route.fallback_provider
        return f"{route.fallback_provider} (off)"

    @admin.display(description="retries", ordering="max_retries")
    def retries(self, route: ChannelRoutingConfig) -> str:
        """The maximum, and how the delay grows."""
        return f"{route.max_retries}, {route.get_retry_strategy_display().lower()}"

    def get_urls(self) -> list[Any]:
        """The usual ones, and the screen that explains a route."""
        view = self.admin_site.admin_view(self.explain)
        return [path("explain/", view, name="routing_explain"), *super().get_urls()]

    def explain(self, request: HttpRequest) -> TemplateResponse:
        """Which provider a message would go to now, and why. Writes nothing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = ExplainForm(request.GET or None)
        explanation, candidates = None, []
        if form.is_valid():
            explanation = explain(
                form.cleaned_data["routing_request"],
                planner=Planner(rng=Random()),  # noqa: S311 - no secret
                now=timezone.now(),
            )
            candidates = [
                each | {"delivery_rate": rate_in_words(each)}
                for each in explanation.candidates
            ]
        context = {
            **self.admin_site.each_context(request),
            "title": "Explain a route",
            "opts": self.opts,
            "form": form,
            "explanation": explanation,
            "candidates": candidates,
            "retries": retries_in_words(explanation) if explanation else "",
        }
        return TemplateResponse(
            request, "admin/routing/channelroutingconfig/explain.html", context
        )
