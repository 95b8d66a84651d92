"""Which provider a message would go to now, and why."""

from __future__ import annotations

from random import Random
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from routing.api.conventions.serializers import ApiSerializer, TermField
from routing.api.decisions import ExplanationSerializer
from routing.decision.explain import UnusableAddress, explain, request_to, sample
from routing.decision.planner import Planner
from routing.vocabulary import CampaignKind, Channel


class ExplainSerializer(ApiSerializer):
    """The message to explain."""

    channel = TermField(choices=Channel.choices())
    to = serializers.CharField(
        max_length=254, help_text="A number such as +491511234567, or an address."
    )
    body = serializers.CharField(
        default="", allow_blank=True, help_text="Its length decides the price."
    )
    media_urls = serializers.ListField(
        child=serializers.CharField(max_length=2000),
        default=list,
        max_length=20,
        help_text="For an MMS: not every provider can carry all media.",
    )
    campaign_kind = TermField(
        choices=CampaignKind.choices(), default=CampaignKind.MARKETING.value
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The message as a routing request."""
        try:
            routing_request = request_to(
                channel=Channel(attrs["channel"]),
                to=attrs["to"],
                body=attrs["body"],
                kind=CampaignKind(attrs["campaign_kind"]),
            )
        except UnusableAddress as error:
            raise ValidationError({"to": str(error)}, "unusable_address") from None
        message = sample(
            routing_request, body=attrs["body"], media_urls=attrs["media_urls"]
        )
        return {"routing_request": routing_request, "message": message}


class ExplanationViewSet(GenericViewSet[Any]):
    """The decision that the queue would make now. Nothing is sent or reserved."""

    required_scope = "admin"
    serializer_class = ExplainSerializer
    filter_backends = []

    @extend_schema(
        summary="Explain where a message would go",
        responses={200: ExplanationSerializer},
    )
    def create(self, request: Request) -> Response:
        question = self.get_serializer(data=request.data)
        question.is_valid(raise_exception=True)
        explanation = explain(
            question.validated_data["routing_request"],
            planner=Planner(rng=Random()),  # noqa: S311 - no secret
            now=timezone.now(),
            message=question.validated_data["message"],
        )
        return Response(ExplanationSerializer(explanation.as_json()).data)
