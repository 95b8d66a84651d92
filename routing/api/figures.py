"""The figures of statistics, as they are on the wire."""

from __future__ import annotations

from rest_framework import serializers

from routing.api.conventions.serializers import ApiSerializer

_RATE = "From 0 to 1; null if there is nothing to divide by."


class MessagesSerializer(ApiSerializer):
    """Messages by the status that they reached on these days.

    Queued counts messages accepted into the queue, Sent those accepted by a provider,
    and the others their final status: a message counts at most once in each of the
    three.
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
    """Attempts by their outcome."""

    pending = serializers.IntegerField()
    accepted = serializers.IntegerField()
    rejected = serializers.IntegerField()
    unknown = serializers.IntegerField()


class FallbacksSerializer(ApiSerializer):
    """Attempts at a provider other than the first choice, by reason."""

    total = serializers.IntegerField()
    primary_failed = serializers.IntegerField()
    provider_unavailable = serializers.IntegerField()
    rate_limit_exceeded = serializers.IntegerField()
    cost_threshold = serializers.IntegerField()
    quality_threshold = serializers.IntegerField()


class ResponseTimesSerializer(ApiSerializer):
    """How long providers took to answer; null if no call was timed."""

    average = serializers.FloatField(allow_null=True)
    p50 = serializers.FloatField(
        allow_null=True, help_text="Percentiles are within 5 %."
    )
    p95 = serializers.FloatField(allow_null=True)
    p99 = serializers.FloatField(allow_null=True)


class CostsSerializer(ApiSerializer):
    """What was spent in one currency."""

    currency = serializers.CharField(help_text="ISO 4217.")
    total = serializers.DecimalField(max_digits=None, decimal_places=6)
    priced_attempts = serializers.IntegerField(
        help_text="Attempts whose cost is known, in this currency."
    )
    average_per_attempt = serializers.DecimalField(
        max_digits=None,
        decimal_places=6,
        allow_null=True,
        help_text="Null if no cost is known.",
    )
    per_delivered_message = serializers.DecimalField(
        max_digits=None,
        decimal_places=6,
        allow_null=True,
        help_text="Null if none was delivered.",
    )


class FiguresSerializer(ApiSerializer):
    """Figures of messages and of providers: `routing.rules.figures`."""

    messages = MessagesSerializer()
    delivery_rate = serializers.FloatField(
        allow_null=True,
        help_text="delivered / (delivered + bounced + failed after acceptance). "
        + _RATE,
    )
    attempts = serializers.IntegerField(
        help_text="Each call of a provider for a message is one."
    )
    outcomes = OutcomesSerializer()
    success_rate = serializers.FloatField(
        allow_null=True, help_text="accepted / attempts. " + _RATE
    )
    retries = serializers.IntegerField(
        help_text="Attempts of a later round than their message's first."
    )
    fallbacks = FallbacksSerializer()
    late_results = serializers.IntegerField(
        help_text="Results that arrived after their attempt was written off as unknown."
    )
    response_time_ms = ResponseTimesSerializer()
    costs = CostsSerializer(many=True)
