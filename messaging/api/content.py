"""The JSON fields that messages and campaigns share: text, channel and times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from messaging.addresses import AddressError
from messaging.rules.content import (
    ContentError,
    check_body,
    check_media,
    check_subject,
    check_times,
)
from messaging.rules.merge_fields import Template, own_fields
from messaging.rules.quiet_hours import QuietHoursError
from routing.api.conventions.serializers import ApiSerializer, TermField
from routing.vocabulary import CampaignKind, Channel

AT_ONCE = 1000  # messages, or recipients, in one request
COUNTRY_IN = "in `country`"


class ContentSerializer(ApiSerializer):
    """A text for a channel, with the time to send it."""

    channel = TermField(choices=Channel.choices())
    kind = TermField(
        choices=CampaignKind.choices(),
        default=CampaignKind.MARKETING,
        help_text="Transactional: the recipient is waiting for it.",
    )
    subject = serializers.CharField(
        default="", allow_blank=True, help_text="For e-mail only."
    )
    body = serializers.CharField(trim_whitespace=False)
    media_urls = serializers.ListField(
        child=serializers.CharField(), default=list, help_text="For MMS only."
    )
    scheduled_at = serializers.DateTimeField(
        default=None, allow_null=True, help_text="When to send; null: at once."
    )
    expires_at = serializers.DateTimeField(
        default=None,
        allow_null=True,
        help_text="After this it is not sent.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the content against its channel; report every problem by field."""
        channel = attrs["channel"] = Channel(attrs["channel"])
        attrs["kind"] = CampaignKind(attrs["kind"])
        problems: dict[str, str] = {}
        with noted(problems, "body"):
            check_body(channel, attrs["body"])
            Template(attrs["body"], own_fields(channel, attrs["kind"]))
        with noted(problems, "subject"):
            check_subject(channel, attrs["subject"])
            Template(attrs["subject"])
        with noted(problems, "mediaUrls"):
            check_media(channel, attrs["media_urls"])
        with noted(problems, "scheduledAt" if attrs["scheduled_at"] else "expiresAt"):
            check_times(attrs["scheduled_at"], attrs["expires_at"], now=timezone.now())
        self.check_more(attrs, problems)
        if problems:
            raise ValidationError(dict(problems))
        return attrs

    def check_more(self, attrs: dict[str, Any], problems: dict[str, str]) -> None:
        """Override this to check more."""


@contextmanager
def noted(problems: dict[str, str], field: str) -> Iterator[None]:
    try:
        yield
    except (ContentError, QuietHoursError) as error:
        problems[field] = str(error)
    except AddressError as error:
        problems[field] = f"{error.with_hint(country_in=COUNTRY_IN)}."
