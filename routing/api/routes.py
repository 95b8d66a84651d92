"""Routes over REST, under the same rules as in the back office."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as ModelProblems
from django.db import transaction
from django.urls import reverse
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from routing.api.channels import CHANNEL_IN_PATH, CHANNEL_PARAMETER, channel_in_path
from routing.api.conventions.filters import ApiFilterSet, FlagFilter, TermFilter
from routing.api.conventions.router import ID
from routing.api.conventions.serializers import (
    ApiModelSerializer,
    ApiSerializer,
    wire_errors,
)
from routing.models import ChannelRoutingConfig, FurtherProvider
from routing.vocabulary import CampaignKind, Channel, RoutingStrategy

FIRST_FURTHER = 3  # the position after the primary and the fallback provider


class FurtherProviderSerializer(ApiSerializer):
    """A provider after the first two, in the route's order."""

    provider = serializers.CharField(max_length=100)
    weight = serializers.IntegerField(
        min_value=0, max_value=2**15 - 1, default=1, help_text="As `primaryWeight`."
    )


class RouteSerializer(ApiModelSerializer):
    """Which providers carry the messages of a channel, and how hard to try."""

    further_providers = FurtherProviderSerializer(many=True, required=False)

    # The field at which a rule about two fields is reported.
    field_of_rule = {
        "priority_taken": "priority",
        "maximum_below_initial": "maxRetryDelaySeconds",
        "fallback_missing": "fallbackProvider",
        "fallback_is_primary": "fallbackProvider",
        "policy_and_strategy": "customRetryPolicy",
    }

    class Meta:
        model = ChannelRoutingConfig
        fields = [
            "id",
            "channel",
            "primary_provider",
            "fallback_provider",
            "further_providers",
            "enable_fallback",
            "routing_strategy",
            "primary_weight",
            "fallback_weight",
            "max_retries",
            "retry_strategy",
            "initial_retry_delay_seconds",
            "max_retry_delay_seconds",
            "custom_retry_policy",
            "unknown_outcome_policy",
            "country",
            "dial_prefix",
            "campaign_kind",
            "maximum_cost",
            "currency",
            "minimum_quality",
            "is_active",
            "priority",
            "created_at",
            "updated_at",
        ]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the models check the values, including the further providers."""
        own = {k: v for k, v in attrs.items() if k != "further_providers"}
        route = self.checked(own)
        further = attrs.get("further_providers")
        if further is None and self.instance is not None:
            further = self.instance.further_providers.values("provider", "weight")
        if errors := _problems_with_further(route, further or []):
            raise ValidationError({"furtherProviders": errors})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> ChannelRoutingConfig:
        """A new route with its providers."""
        return self.update(ChannelRoutingConfig(), validated_data)

    @transaction.atomic
    def update(
        self, instance: ChannelRoutingConfig, validated_data: dict[str, Any]
    ) -> ChannelRoutingConfig:
        """Save the route and, if given, all of its further providers."""
        further = validated_data.pop("further_providers", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save()
        if further is not None and further != _further_values(instance):
            instance.further_providers.all().delete()
            for each in _further(instance, further):
                each.save()
        return instance


def _further(
    route: ChannelRoutingConfig, values: list[dict[str, Any]]
) -> list[FurtherProvider]:
    return [
        FurtherProvider(route=route, position=position, **each)
        for position, each in enumerate(values, FIRST_FURTHER)
    ]


def _further_values(route: ChannelRoutingConfig) -> list[dict[str, Any]]:
    further = route.further_providers.order_by("position")
    return [{"provider": each.provider, "weight": each.weight} for each in further]


def _problems_with_further(
    route: ChannelRoutingConfig, values: list[dict[str, Any]]
) -> dict[Any, Any]:
    """Their problems, by index."""
    errors: dict[Any, Any] = {}
    seen: set[str] = set()
    for index, each in enumerate(_further(route, values)):
        try:
            each.clean()
        except ModelProblems as problems:
            errors[index] = wire_errors(problems)
        if each.provider in seen:
            text = f"{each.provider} is already in this list."
            errors[index] = {"provider": [ErrorDetail(text, "twice")]}
        seen.add(each.provider)
    return errors


class RouteFilters(ApiFilterSet):
    """Which routes; several filters are combined."""

    channel = TermFilter(Channel)
    routing_strategy = TermFilter(RoutingStrategy)
    campaign_kind = TermFilter(CampaignKind)
    is_active = FlagFilter()
    primary_provider = filters.CharFilter()
    fallback_provider = filters.CharFilter()
    country = filters.CharFilter()


@extend_schema_view(
    list=extend_schema(summary="All routes"),
    retrieve=extend_schema(summary="One route"),
    create=extend_schema(summary="Create a route"),
    update=extend_schema(summary="Change a route; omitted fields stay as they are"),
    partial_update=extend_schema(summary="Change some fields of a route"),
    destroy=extend_schema(summary="Delete a route"),
)
class RouteViewSet(ModelViewSet[ChannelRoutingConfig]):
    """A message takes the most specific active route that covers it; among equally
    specific ones, the one with the highest priority. A change takes effect within
    seconds.
    """

    required_scope = "admin"
    queryset = ChannelRoutingConfig.objects.prefetch_related("further_providers")
    serializer_class = RouteSerializer
    filterset_class = RouteFilters
    pagination_class = None  # few, and only the whole list shows which one is used
    lookup_value_regex = ID

    @extend_schema(
        summary="The routes of a channel",
        parameters=[CHANNEL_PARAMETER],
        responses=RouteSerializer(many=True),
    )
    @action(detail=False, url_path=f"channel/{CHANNEL_IN_PATH}")
    def of_channel(self, request: Request, channel: str) -> Response:
        routes = self.filter_queryset(self.get_queryset())
        routes = routes.filter(channel=channel_in_path(channel))
        return Response(self.get_serializer(routes, many=True).data)

    def get_success_headers(self, data: Any) -> dict[str, str]:
        """Where a new route is."""
        return {"Location": reverse("routingconfig-detail", args=[data["id"]])}
