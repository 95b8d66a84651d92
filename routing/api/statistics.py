"""Statistics over REST: of one channel, or of all channels together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from routing.api.channels import CHANNEL_IN_PATH, CHANNEL_PARAMETER, channel_in_path
from routing.api.conventions.serializers import (
    ApiSerializer,
    QuerySerializer,
    TermField,
)
from routing.api.figures import FiguresSerializer
from routing.rules.figures import figures
from routing.rules.period import Period, StartsAfterItsEnd
from routing.rules.tally import K, Tally, day_of
from routing.statistics.reports import statistics_report
from routing.vocabulary import Channel


@extend_schema_field(
    {
        "anyOf": [
            {"type": "string", "format": "date"},
            {"type": "string", "format": "date-time"},
        ]
    }
)
class DayField(serializers.DateField):
    """A day in UTC: a date, or the day that a date-time falls on."""

    default_error_messages = {
        "invalid": "Send a date such as 2026-01-31, or a date-time such as "
        "2026-01-31T12:00:00Z (with + as %2B)."
    }

    def to_internal_value(self, value: Any) -> date:
        """The day; a date-time without a zone counts as UTC."""
        try:
            if day := parse_date(value):
                return day
            moment = parse_datetime(value)
            if moment is None:
                self.fail("invalid")
            return day_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):  # no such day
            self.fail("invalid")


class PeriodSerializer(QuerySerializer):
    """The days of a report, including the first and the last."""

    start_date = DayField(
        required=False, help_text="By default, 30 days up to `endDate`."
    )
    end_date = DayField(required=False, help_text="By default, today in UTC.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """As a `period`; 400 if the first day comes after the last."""
        named = attrs.get("start_date"), attrs.get("end_date")
        try:
            return {"period": Period.named(*named, today=day_of(timezone.now()))}
        except StartsAfterItsEnd as error:
            raise ValidationError({"startDate": str(error)}, "after_end") from None


class ProviderFiguresSerializer(FiguresSerializer):
    """The figures of one provider."""

    provider = serializers.CharField()


class DayFiguresSerializer(FiguresSerializer):
    """The figures of one day, in UTC."""

    date = serializers.DateField()


class ChannelFiguresSerializer(FiguresSerializer):
    """The figures of one channel."""

    channel = TermField(choices=Channel.choices())


class ReportSerializer(ApiSerializer):
    """The figures of some days, in total, by provider and by day."""

    start_date = serializers.DateField()
    end_date = serializers.DateField()
    totals = FiguresSerializer()
    by_provider = ProviderFiguresSerializer(many=True)
    by_day = DayFiguresSerializer(many=True)


class ChannelReportSerializer(ReportSerializer):
    """The report of one channel."""

    channel = TermField(choices=Channel.choices())


class OverallReportSerializer(ReportSerializer):
    """The report of all channels."""

    by_channel = ChannelFiguresSerializer(many=True)


class StatisticsViewSet(GenericViewSet[Any]):
    """Counted as things happen, so that a year is as quick to read as a day."""

    required_scope = "monitor"
    filter_backends = []
    pagination_class = None

    @extend_schema(
        summary="The statistics of a channel",
        parameters=[CHANNEL_PARAMETER, PeriodSerializer],
        responses=ChannelReportSerializer,
    )
    @action(detail=False, url_path=f"channel/{CHANNEL_IN_PATH}")
    def channel(self, request: Request, **path: Any) -> Response:
        channel = channel_in_path(path["channel"])
        shown = _shown(_period(request), channel) | {"channel": channel}
        return Response(ChannelReportSerializer(shown).data)

    @extend_schema(
        summary="The statistics of all channels",
        parameters=[PeriodSerializer],
        responses=OverallReportSerializer,
    )
    @action(detail=False)
    def overall(self, request: Request) -> Response:
        return Response(OverallReportSerializer(_shown(_period(request))).data)


def _period(request: Request) -> Period:
    # As a plain dictionary: in a form, DRF treats a blank field like a missing one.
    query = PeriodSerializer(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    period: Period = query.validated_data["period"]
    return period


def _shown(period: Period, channel: Channel | None = None) -> dict[str, Any]:
    report = statistics_report(period, channel=channel)
    return {
        "start_date": period.first,
        "end_date": period.last,
        "totals": figures(report.total),
        "by_provider": _side("provider", report.by_provider),
        "by_day": _side("date", report.by_day),
        "by_channel": _side("channel", report.by_channel),
    }


def _side(label: str, tallies: Mapping[K, Tally]) -> list[dict[str, Any]]:
    return [{label: each, **figures(tally)} for each, tally in tallies.items()]
