"""The JSON form of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from messaging.addresses import Address, parse_recipient
from messaging.api.content import AT_ONCE, ContentSerializer, noted
from messaging.models import CampaignMessage
from messaging.queue_status import Outages
from messaging.rules.content import check_length, check_times
from messaging.rules.merge_fields import as_written, check_unmerged, own_fields
from messaging.single_messages import SingleMessage
from messaging.timeline import costs_of
from routing.api.conventions.serializers import (
    ApiModelSerializer,
    ApiSerializer,
    TermField,
)
from routing.vocabulary import CampaignKind


class SingleMessageSerializer(ContentSerializer):
    """A message without a campaign of its own."""

    to = serializers.CharField(
        max_length=254, help_text="A phone number, or an e-mail address."
    )
    country = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=2,
        help_text="The country of a national number, such as DE.",
    )

    def check_more(self, attrs: dict[str, Any], problems: dict[str, str]) -> None:
        """Normalise the address, and refuse merge fields that are left over."""
        country, to = attrs.pop("country"), attrs.pop("to")
        attrs["address"] = Address("")
        with noted(problems, "to"):
            attrs["address"] = parse_recipient(attrs["channel"], to, region=country)
        own = own_fields(attrs["channel"], attrs["kind"])
        with noted(problems, "subject"):
            check_unmerged(attrs["subject"])
        with noted(problems, "body"):
            length = check_unmerged(attrs["body"], own)
            check_length(attrs["channel"], length)


class MessageListSerializer(ApiSerializer):
    """Up to 1,000 messages: all are accepted, or none."""

    messages: serializers.Field[Any, Any, Any, Any] = serializers.ListSerializer(
        child=SingleMessageSerializer(), allow_empty=False, max_length=AT_ONCE
    )


def singles_in(data: Any) -> list[SingleMessage]:
    """The messages of a request; 400 says what is wrong with each."""
    if isinstance(data, Mapping) and "messages" in data:
        several = MessageListSerializer(data=data)
        several.is_valid(raise_exception=True)
        rows = several.validated_data["messages"]
    else:
        one = SingleMessageSerializer(data=data)
        one.is_valid(raise_exception=True)
        rows = [one.validated_data]
    return [SingleMessage(**row) for row in rows]


class MessageSerializer(ApiModelSerializer):
    """A message with its status."""

    campaign = serializers.SerializerMethodField(
        help_text="Null: a single message, without a campaign."
    )
    kind = TermField(source="campaign.kind", choices=CampaignKind.choices())
    to = serializers.CharField(source="recipient")
    status_reason = serializers.SerializerMethodField(
        help_text="Why it failed, or what it waits for."
    )
    is_outcome_unknown = serializers.BooleanField(
        help_text="Whether it is unknown if a provider has sent it."
    )

    class Meta:
        model = CampaignMessage
        fields = [
            "id",
            "campaign",
            "channel",
            "kind",
            "to",
            "country",
            "status",
            "status_reason",
            "is_outcome_unknown",
            "provider",
            "attempt_count",
            "retry_count",
            "segments",
            "due_at",
            "expires_at",
            "created_at",
            "sent_at",
            "finished_at",
        ]
        read_only_fields = fields

    def get_status_reason(self, message: CampaignMessage) -> str:
        """With the time of a retry, or the outage that holds its lane."""
        return self._outages.reason_for(message)

    @cached_property
    def _outages(self) -> Outages:
        """One serializer serves all messages of a response."""
        return Outages(now=timezone.now())

    def get_campaign(self, message: CampaignMessage) -> int | None:
        """The campaign's id; lanes of single messages are not shown."""
        return None if message.campaign.is_standing else message.campaign_id


class CostSerializer(ApiSerializer):
    """What attempts cost, in one currency."""

    amount = serializers.DecimalField(max_digits=18, decimal_places=6)
    currency = serializers.CharField()


class MessageDetailSerializer(MessageSerializer):
    """A message with its content and costs."""

    subject = serializers.SerializerMethodField()
    body = serializers.SerializerMethodField()
    media_urls = serializers.ListField(child=serializers.CharField(), source="media")
    costs = serializers.SerializerMethodField(
        help_text="Of all attempts so far, by currency; empty while unknown."
    )

    class Meta(MessageSerializer.Meta):
        fields = [
            *MessageSerializer.Meta.fields,
            "subject",
            "body",
            "media_urls",
            "costs",
        ]
        read_only_fields = fields

    def get_subject(self, message: CampaignMessage) -> str:
        """Its own, or its campaign's."""
        return message.subject or message.campaign.subject

    def get_body(self, message: CampaignMessage) -> str:
        """Its own, or its campaign's."""
        return as_written(message.body) or message.campaign.body

    @extend_schema_field(CostSerializer(many=True))
    def get_costs(self, message: CampaignMessage) -> Any:
        """One entry for each currency."""
        return CostSerializer(costs_of(message), many=True).data


class PostedMessagesSerializer(ApiSerializer):
    """The accepted messages, in the order of the request."""

    messages = MessageSerializer(many=True)


class RetrySerializer(ApiSerializer):
    """The options of a retry."""

    expires_at = serializers.DateTimeField(
        default=None,
        allow_null=True,
        help_text="A new time after which it is not sent; null keeps the old one.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a time in the past, which would expire the message at once."""
        problems: dict[str, str] = {}
        with noted(problems, "expiresAt"):
            check_times(None, attrs["expires_at"], now=timezone.now())
        if problems:
            raise ValidationError(dict(problems))
        return attrs
