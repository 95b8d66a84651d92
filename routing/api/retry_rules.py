"""The retry table over REST, under the same rules as in the back office."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.viewsets import ModelViewSet

from routing.api.conventions.filters import ApiFilterSet, FlagFilter, TermFilter
from routing.api.conventions.router import ID
from routing.api.conventions.serializers import ApiModelSerializer
from routing.models import RetryRule
from routing.rules.retry import LONGEST_DELAY
from routing.rules.retry_table import MOST_DELAYS
from routing.vocabulary import Channel, ErrorClass


class SecondsField(serializers.IntegerField):
    """One delay; DRF itself would take "900" and true as well."""

    default_error_messages = {"type": "This must be a whole number."}

    def to_internal_value(self, data: Any) -> int:
        """The number."""
        if type(data) is not int:
            self.fail("type")
        return super().to_internal_value(data)


class RetryRuleSerializer(ApiModelSerializer):
    """When a failure of one kind is tried again."""

    delays_seconds = serializers.ListField(
        child=SecondsField(min_value=1, max_value=int(LONGEST_DELAY.total_seconds())),
        max_length=MOST_DELAYS,
        help_text="The delay before each further try. An empty list: not retried.",
    )

    # The field at which a rule about several fields is reported.
    field_of_rule = {"rule_exists": "errorClass"}

    class Meta:
        model = RetryRule
        fields = [
            "id",
            "error_class",
            "channel",
            "provider",
            "code",
            "delays_seconds",
            "is_active",
            "note",
            "created_at",
            "updated_at",
        ]


class RetryRuleFilters(ApiFilterSet):
    """Which rules; several filters are combined."""

    error_class = TermFilter(ErrorClass)
    channel = TermFilter(Channel)
    provider = filters.CharFilter()
    code = filters.CharFilter()
    is_active = FlagFilter()


@extend_schema_view(
    list=extend_schema(summary="The retry table: all rules"),
    retrieve=extend_schema(summary="One retry rule"),
    create=extend_schema(summary="Create a retry rule"),
    update=extend_schema(summary="Change a retry rule; omitted fields stay"),
    partial_update=extend_schema(summary="Change some fields of a retry rule"),
    destroy=extend_schema(summary="Delete a retry rule"),
)
class RetryRuleViewSet(ModelViewSet[RetryRule]):
    """A failure, in an answer or by a receipt, is retried by the most specific active
    rule: one for its code, then for its provider, then for its channel. A change takes
    effect within seconds.
    """

    required_scope = "admin"
    queryset = RetryRule.objects.all()
    serializer_class = RetryRuleSerializer
    filterset_class = RetryRuleFilters
    pagination_class = None  # few, and only the whole list shows which one is used
    lookup_value_regex = ID

    def get_success_headers(self, data: Any) -> dict[str, str]:
        """Where a new rule is."""
        return {"Location": reverse("retry-rules-detail", args=[data["id"]])}
