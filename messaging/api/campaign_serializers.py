"""The JSON form of campaigns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.addresses import AddressError, parse_recipient
from messaging.api.content import AT_ONCE, COUNTRY_IN, ContentSerializer, noted
from messaging.audience.recipients import Recipient, Rejection
from messaging.campaign_progress import progress_of
from messaging.campaigns import CampaignText
from messaging.models import Campaign, usual_quiet_hours
from messaging.rules.content import ContentError, check_quiet_hours
from messaging.rules.merge_fields import keyed
from messaging.rules.quiet_hours import QuietHours
from messaging.single_messages import HIGHEST_OF_CAMPAIGNS
from messaging.vocabulary import CampaignStatus
from routing.api.conventions.serializers import (
    ApiModelSerializer,
    ApiSerializer,
    TermField,
)
from routing.csv_files import CELL_LIMIT
from routing.vocabulary import Channel, MessageStatus


class WallTimeField(serializers.RegexField):
    """A time as a clock shows it, such as 08:00."""

    default_error_messages = {"invalid": "This must be a time such as 08:00."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", **kwargs)

    def to_representation(self, value: Any) -> str:
        """Hours and minutes."""
        return f"{value:%H:%M}"


class CampaignDraftSerializer(ContentSerializer):
    """A new campaign: recipients are added next, then it is launched."""

    name = serializers.CharField(max_length=200, help_text="Shown to operators only.")
    body = serializers.CharField(
        trim_whitespace=False, help_text="May use fields such as {{first_name}}."
    )
    quiet_from = WallTimeField(
        required=False,
        allow_null=True,
        help_text="Start of quiet hours in the recipient's local time, such as 21:00. "
        "If both are left out, the installation's default applies. Marketing only.",
    )
    quiet_until = WallTimeField(
        required=False,
        allow_null=True,
        help_text="End of quiet hours, such as 08:00. Both null: no quiet hours.",
    )
    priority = serializers.IntegerField(
        default=5,
        min_value=0,
        max_value=HIGHEST_OF_CAMPAIGNS,
        help_text="Higher goes first. Single transactional messages go before all.",
    )

    def check_more(self, attrs: dict[str, Any], problems: dict[str, str]) -> None:
        """Require both ends of quiet hours, or neither."""
        is_left_out = not {"quiet_from", "quiet_until"} & attrs.keys()
        start, end = attrs.pop("quiet_from", None), attrs.pop("quiet_until", None)
        attrs["quiet_hours"] = usual_quiet_hours(attrs["kind"]) if is_left_out else None
        if bool(start) != bool(end):
            missing = "quietUntil" if start else "quietFrom"
            problems[missing] = "Quiet hours need both quietFrom and quietUntil."
        elif start and end:
            with noted(problems, "quietUntil"):
                hours = QuietHours(time.fromisoformat(start), time.fromisoformat(end))
                attrs["quiet_hours"] = hours
            with noted(problems, "quietFrom"):
                check_quiet_hours(attrs["kind"], attrs["quiet_hours"])

    def text(self) -> CampaignText:
        """The value that services take."""
        return CampaignText(**self.validated_data)


class CampaignSerializer(ApiModelSerializer):
    """A campaign."""

    media_urls = serializers.ListField(child=serializers.CharField())
    quiet_from = WallTimeField(allow_null=True)
    quiet_until = WallTimeField(allow_null=True)

    class Meta:
        model = Campaign
        fields = [
            "id",
            "name",
            "channel",
            "kind",
            "status",
            "priority",
            "subject",
            "body",
            "media_urls",
            "scheduled_at",
            "expires_at",
            "quiet_from",
            "quiet_until",
            "created_at",
            "launched_at",
            "completed_at",
        ]
        read_only_fields = fields


class StatusCountSerializer(ApiSerializer):
    """How many messages have a status."""

    status = TermField(choices=MessageStatus.choices())
    count = serializers.IntegerField()


class ProgressSerializer(ApiSerializer):
    """How far a campaign is, in messages."""

    total = serializers.IntegerField()
    left = serializers.IntegerField(help_text="Queued or being sent.")
    next_due_at = serializers.DateTimeField(allow_null=True)
    next_reason = serializers.CharField(
        help_text='Why the next message was deferred, such as "Quiet hours until 08:00 '
        'in Europe/Berlin."; "" if it was not.'
    )
    by_status = StatusCountSerializer(
        many=True, source="counts", help_text="Every status, including those with 0."
    )


class CampaignDetailSerializer(CampaignSerializer):
    """A campaign with its progress."""

    progress = serializers.SerializerMethodField()

    class Meta(CampaignSerializer.Meta):
        fields = [*CampaignSerializer.Meta.fields, "progress"]
        read_only_fields = fields

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, campaign: Campaign) -> Any:
        """Count the messages now."""
        return ProgressSerializer(progress_of([campaign.pk])).data


class RecipientSerializer(ApiSerializer):
    """A recipient of the campaign."""

    to = serializers.CharField(max_length=254)
    country = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=2,
        help_text="The country of a national number, such as DE.",
    )
    values = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=CELL_LIMIT),
        default=dict,
        help_text="Values for the text's merge fields, by field name.",
    )


class RecipientListSerializer(ApiSerializer):
    """Up to 1,000 recipients at once."""

    recipients: serializers.Field[Any, Any, Any, Any] = serializers.ListSerializer(
        child=RecipientSerializer(), allow_empty=False, max_length=AT_ONCE
    )
    reject_blank = serializers.BooleanField(
        default=False,
        help_text="Reject recipients with a blank field that has no default.",
    )

    def rows(self, campaign: Campaign) -> Iterator[Recipient | Rejection]:
        """The values that services take, numbered by index in the list, from 0."""
        channel = Channel(campaign.channel)
        for index, each in enumerate(self.validated_data["recipients"]):
            to, country = each["to"], each["country"]
            try:
                values = keyed(each["values"])
                address = parse_recipient(channel, to, region=country)
            except ContentError as error:
                yield Rejection(index, str(error), to)
            except AddressError as error:
                yield Rejection(index, error.with_hint(country_in=COUNTRY_IN), to)
            else:
                yield Recipient(index, address, values)


class RejectedSerializer(ApiSerializer):
    """A recipient that was rejected."""

    index = serializers.IntegerField(source="line", help_text="In the list, from 0.")
    to = serializers.CharField(source="address")
    reason = serializers.CharField()


class AudienceSerializer(ApiSerializer):
    """How many recipients were accepted, and which were rejected."""

    accepted = serializers.IntegerField()
    rejected = RejectedSerializer(many=True)
    blanks = serializers.DictField(
        child=serializers.IntegerField(),
        required=False,
        help_text="How many accepted recipients leave a field blank, by field name; "
        "left out if none does.",
    )


class WithdrawalSerializer(ApiSerializer):
    """The result of a cancellation."""

    status = TermField(choices=CampaignStatus.choices())
    withdrawn = serializers.IntegerField(
        help_text="Messages that were queued and will not leave; workers update their "
        "status in batches."
    )
    in_flight = serializers.IntegerField(
        help_text="Messages that a provider has or may have."
    )
