"""A routing decision on the wire: on record with an attempt, or explained now."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from routing.api.conventions.serializers import ApiSerializer, TermField
from routing.vocabulary import (
    CampaignKind,
    Channel,
    ChoiceEnum,
    FallbackReason,
    RoutingStrategy,
)


class LabelField(TermField):
    """A word that the record has as its label, as the integer that the wire has."""

    def __init__(
        self, terms: type[ChoiceEnum], *, is_always_known: bool = False
    ) -> None:
        """Of what is decided now, and by this release, the word is always known."""
        super().__init__(
            choices=terms.choices(),
            read_only=True,
            default=None,
            allow_null=not is_always_known,
        )
        self._values = {term.label: term.value for term in terms}

    def to_representation(self, value: Any) -> Any:
        """The integer; None for a word of another release."""
        return self._values.get(value)


class CandidateSerializer(ApiSerializer):
    """A provider of the route, as it stood at the moment of the decision."""

    provider = serializers.CharField()
    verdict = serializers.CharField(
        help_text="`eligible`, or why it could not be used."
    )
    weight = serializers.IntegerField(help_text="Its share of a RoundRobin route.")
    price = serializers.CharField(
        allow_null=True, help_text="Of the whole message; null when nobody knows."
    )
    currency = serializers.CharField(allow_null=True)
    score = serializers.FloatField(
        allow_null=True, help_text="Its estimated delivery rate, from 0 to 1."
    )
    evidence = serializers.FloatField(help_text="Messages that the score rests on.")


class DecisionSerializer(ApiSerializer):
    """Why a message went where it went."""

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
        help_text="The first message of the call that it shared with others; null when "
        "it went alone.",
    )
    shared_with = serializers.IntegerField(
        default=0, help_text="How many other messages were in that call."
    )
    recovered = serializers.BooleanField(
        default=False,
        help_text="Whether it was written by recovery, after its worker was lost.",
    )


class ExplainedRouteSerializer(ApiSerializer):
    """The route that serves a message."""

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
    """A provider of the route, as it stands now."""

    breaker = serializers.CharField(help_text="`closed`, or until when it is open.")
    throttle = serializers.CharField(help_text="Its rate, and what room is left.")


class ExplanationSerializer(ApiSerializer):
    """Where a message would go now, and why."""

    to = serializers.CharField()
    country = serializers.CharField(help_text="Empty when the address tells none.")
    segments = serializers.IntegerField()
    route = ExplainedRouteSerializer(
        allow_null=True, help_text="Null when none covers the message: it would wait."
    )
    candidates = ExplainedCandidateSerializer(many=True)
    chosen = serializers.CharField(
        allow_null=True, help_text="Null when no provider may be used: it would wait."
    )
    fallback_reason = LabelField(FallbackReason)
    why = serializers.CharField(help_text="In a sentence.")
