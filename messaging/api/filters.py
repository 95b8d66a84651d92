"""The filters of message and campaign lists."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django import forms
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from messaging.vocabulary import CampaignStatus
from routing.api.conventions.filters import ApiFilterSet, FlagFilter, TermFilter
from routing.api.conventions.pagination import Pages
from routing.api.conventions.router import LARGEST_ID
from routing.text.email_addresses import mailbox_key
from routing.vocabulary import CampaignKind, Channel, MessageStatus


@extend_schema_field(OpenApiTypes.INT)
class IdFilter(filters.Filter):  # type: ignore[misc]
    """By the id of another row, up to the largest that the databases allow."""

    field_class = forms.IntegerField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=LARGEST_ID, **kwargs)


class MomentField(IsoDateTimeField):  # type: ignore[misc]
    """A date-time that is in range in UTC too."""

    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise forms.ValidationError("It is out of range.") from None


class MomentFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]
    """By a date-time."""

    field_class = MomentField


class AddressFilter(filters.CharFilter):  # type: ignore[misc]
    """By a recipient, in the form stored on messages.

    In a query string `+` means a space, and few callers escape it as %2B, so digits
    alone are read as an E.164 number.
    """

    def filter(self, queryset: Any, value: str) -> Any:
        """Messages to that address."""
        text = mailbox_key(value)
        return super().filter(queryset, f"+{text}" if text.isdecimal() else text)


class MessageFilters(ApiFilterSet):
    channel = TermFilter(Channel)
    status = TermFilter(MessageStatus)
    campaign = IdFilter(field_name="campaign_id")
    to = AddressFilter(field_name="recipient")
    provider = filters.CharFilter()
    is_outcome_unknown = FlagFilter(
        field_name="unknown_since", lookup_expr="isnull", exclude=True
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")


class CampaignFilters(ApiFilterSet):
    channel = TermFilter(Channel)
    status = TermFilter(CampaignStatus)
    kind = TermFilter(CampaignKind)


class OrderedPages(Pages):
    """Pages in order of `ordering=-id` (newest first) or `ordering=id`.

    No other orders: these two can be read by an index, however many rows there are.
    """

    allowed = ("-id", "id")

    @property
    def query_names(self) -> set[str]:
        """The query parameters that it reads."""
        return super().query_names | {"ordering"}

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str]:
        """The requested order; 400 lists the possible ones."""
        wanted = request.query_params.get("ordering", self.allowed[0])
        if wanted not in self.allowed:
            allowed = ", ".join(self.allowed)
            raise ValidationError({"ordering": f"Choose one of: {allowed}."})
        return (wanted,)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Add the ordering to the documented parameters."""
        ordering = {
            "name": "ordering",
            "in": "query",
            "required": False,
            "description": "Newest first (`-id`) or oldest first (`id`).",
            "schema": {"type": "string", "enum": list(self.allowed)},
        }
        return [*super().get_schema_operation_parameters(view), ordering]
