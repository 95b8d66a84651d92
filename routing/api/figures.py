"""The figures that statistics show of whatever was tallied together."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from routing.api.serializers import ApiSerializer
from routing.tally import Tally
from routing.vocabulary import AttemptOutcome, FallbackReason, MessageStatus

_RATE = "From 0 to 1; 0 when there is nothing to divide by."


class MessagesSerializer(ApiSerializer):
    """Messages by the status that they reached on these days.

    Queued counts what was taken in, Sent what a provider accepted, and the others what
    became of it: a message counts at most once in each of the three.
    """

    queued = serializers.IntegerField()
    sent = serializers.IntegerField()
    delivered = serializers.IntegerField()
    failed = serializers.IntegerField()
    bounced = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    suppressed = serializers.IntegerField()
    expired = serializers.IntegerField()


class OutcomesSerializer(ApiSerializer):
    """Attempts by what is known of them."""

    pending = serializers.IntegerField()
    accepted = serializers.IntegerField()
    rejected = serializers.IntegerField()
    unknown = serializers.IntegerField()


class FallbacksSerializer(ApiSerializer):
    """Attempts that went to another provider than the first choice, by why."""

    total = serializers.IntegerField()
    primary_failed = serializers.IntegerField()
    provider_unavailable = serializers.IntegerField()
    rate_limit_exceeded = serializers.IntegerField()
    cost_threshold = serializers.IntegerField()
    quality_threshold = serializers.IntegerField()


class ResponseTimesSerializer(ApiSerializer):
    """How long the providers' answers took; 0 when no call was timed."""

    average = serializers.FloatField()
    p50 = serializers.FloatField(help_text="Percentiles are within 5 %.")
    p95 = serializers.FloatField()
    p99 = serializers.FloatField()


class CostsSerializer(ApiSerializer):
    """What was spent in one currency."""

    currency = serializers.CharField(help_text="ISO 4217.")
    total = serializers.DecimalField(max_digits=None, decimal_places=6)
    priced_attempts = serializers.IntegerField(
        help_text="Attempts whose cost is known, in this currency."
    )
    average_per_attempt = serializers.DecimalField(max_digits=None, decimal_places=6)
    per_delivered_message = serializers.DecimalField(
        max_digits=None, decimal_places=6, help_text="0 when none was delivered."
    )


class FiguresSerializer(ApiSerializer):
    """What happened to messages, and how providers did."""

    messages = MessagesSerializer()
    delivery_rate = serializers.FloatField(
        help_text="delivered / (delivered + bounced + failed after acceptance). "
        + _RATE
    )
    attempts = serializers.IntegerField(help_text="Hand-overs to providers.")
    outcomes = OutcomesSerializer()
    success_rate = serializers.FloatField(help_text="accepted / attempts. " + _RATE)
    retries = serializers.IntegerField(
        help_text="Attempts of a later round than their message's first."
    )
    fallbacks = FallbacksSerializer()
    late_results = serializers.IntegerField(
        help_text="Results that came after their attempt was written off as unknown."
    )
    response_time_ms = ResponseTimesSerializer()
    costs = CostsSerializer(many=True)


def figures(tally: Tally) -> dict[str, Any]:
    """A tally as FiguresSerializer shows it."""
    fallbacks = _by_name(FallbackReason, tally.fallbacks)
    p50, p95, p99 = tally.response_ms(0.5, 0.95, 0.99)
    return {
        "messages": _by_name(MessageStatus, tally.messages),
        "delivery_rate": round(tally.delivery_rate, 4),
        "attempts": tally.attempts,
        "outcomes": _by_name(AttemptOutcome, tally.outcome),
        "success_rate": round(tally.success_rate, 4),
        "retries": tally.retries,
        "fallbacks": {"total": sum(fallbacks.values())} | fallbacks,
        "late_results": tally.late_results,
        "response_time_ms": {
            "average": round(tally.average_response_ms, 1),
            "p50": round(p50, 1),
            "p95": round(p95, 1),
            "p99": round(p99, 1),
        },
        "costs": _costs(tally),
    }


def _by_name(terms: Any, count: Any) -> dict[str, int]:
    return {term.name.lower(): count(term) for term in terms}


def _costs(tally: Tally) -> list[dict[str, Any]]:
    delivered = tally.messages(MessageStatus.DELIVERED)
    return [
        {
            "currency": currency,
            "total": spending.total,
            "priced_attempts": spending.priced,
            "average_per_attempt": spending.average,
            "per_delivered_message": spending.per(delivered),
        }
        for currency, spending in tally.spending().items()
    ]
