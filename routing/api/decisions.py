"""A routing decision on the wire: recorded with an attempt, or explained now."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from routing.api.conventions.serializers import ApiSerializer, TermField
from routing.vocabulary import (
    CampaignKind,
    Channel,
    ChoiceEnum,
    ErrorClass,
    FallbackReason,
    RoutingStrategy,
)


class LabelField(TermField):
    """An enum member that the record stores as its label, as its integer."""

    def __init__(
        self, terms: type[ChoiceEnum], *, is_always_known: bool = False
    ) -> None:
        """`is_always_known`: decided now, by this release, so the label is known."""
        super().__init__(
            choices=terms.choices(),
            read_only=True,
            default=None,
            allow_null=not is_always_known,
        )
        self._values = {term.label: term.value for term in terms}

    def to_representation(self, value: Any) -> Any:
        """The integer; None for a label of another release."""
        return self._values.get(value)


class CandidateSerializer(ApiSerializer):
    """A provider of the route, at the time of the decision."""

    provider = serializers.CharField()
    verdict = serializers.CharField(
        help_text="`eligible`, or why it could not be used."
    )
    weight = serializers.IntegerField(help_text="Its share of a RoundRobin route.")
    price = serializers.CharField(
        allow_null=True, help_text="For the whole message; null if unknown."
    )
    currency = serializers.CharField(allow_null=True)
    score = serializers.FloatField(
        allow_null=True, help_text="Its estimated delivery rate, from 0 to 1."
    )
    evidence = serializers.FloatField(
        help_text="How many messages the score is based on."
    )


class DecisionSerializer(ApiSerializer):
    """Why a message went to this provider."""

    route = serializers.IntegerField(
        default=None, allow_null=True, help_text="The id of the route it followed."
    )
    strategy = LabelField(RoutingStrategy)
    chosen = serializers.CharField(default=None, allow_null=True)
    fallback_reason = LabelField(FallbackReason)
    candidates = CandidateSerializer(many=True, default=list)
    call_id = serializers.IntegerField(
        default=None,
        allow_null=True,
        help_text="The first message of the call that it shared with others; null if "
        "it was sent alone.",
    )
    shared_with = serializers.IntegerField(
        default=0, help_text="How many other messages were in that call."
    )
    recovered = serializers.BooleanField(
        default=False,
        help_text="Whether recovery wrote it, after its worker was lost.",
    )


class ExplainedRouteSerializer(ApiSerializer):
    """The route of a message."""

    id = serializers.IntegerField()
    channel = LabelField(Channel, is_always_known=True)
    strategy = LabelField(RoutingStrategy, is_always_known=True)
    priority = serializers.IntegerField()
    scope = serializers.CharField(help_text="Which messages it is for, in words.")
    country = serializers.CharField()
    dial_prefix = serializers.CharField()
    campaign_kind = LabelField(CampaignKind)
    is_fallback_enabled = serializers.BooleanField()


class ExplainedCandidateSerializer(CandidateSerializer):
    """A provider of the route, as of now."""

    breaker = serializers.CharField(
        help_text="`in use`, or until when the provider is out of use, in words."
    )
    throttle = serializers.CharField(
        help_text="Its rate, and how much is available now, in words."
    )


class ExplainedRetrySerializer(ApiSerializer):
    """What may pass, and when it is tried again."""

    error_class = LabelField(ErrorClass, is_always_known=True)
    delays_seconds = serializers.ListField(
        child=serializers.IntegerField(), help_text="Empty: not retried."
    )


class ExplanationSerializer(ApiSerializer):
    """Where a message would go now, and why."""

    to = serializers.CharField()
    country = serializers.CharField(help_text="Empty if the address does not show it.")
    segments = serializers.IntegerField()
    route = ExplainedRouteSerializer(
        allow_null=True, help_text="Null if none covers the message: it would wait."
    )
    candidates = ExplainedCandidateSerializer(many=True)
    chosen = serializers.CharField(
        allow_null=True, help_text="Null if no provider may be used: it would wait."
    )
    fallback_reason = LabelField(FallbackReason)
    why = serializers.CharField(help_text="In a sentence.")
    retries = ExplainedRetrySerializer(
        many=True, help_text="The rules of the retry table for this provider."
    )
