"""How messages get there: routes, and the record of what happened on them."""

from routing.models.config import ChannelRoutingConfig, FurtherProvider, RouteTurn
from routing.models.evidence import DeliveryReceipt, MessageDeliveryAttempt
from routing.models.health import DeliveryQuality, ProviderHealth, ProviderThrottle
from routing.models.inbound import InboundMessage
from routing.models.inbox import WaitingReceipt
from routing.models.pauses import ProviderPause, ProviderPauseQuerySet
from routing.models.rates import Rate, RateQuerySet, problem_with_deck
from routing.models.retry_rules import RetryRule
from routing.models.statistics import MinuteCount, StatisticsEntry
from routing.models.webhooks import WebhookCount

__all__ = [
    "ChannelRoutingConfig",
    "DeliveryQuality",
    "DeliveryReceipt",
    "FurtherProvider",
    "InboundMessage",
    "MessageDeliveryAttempt",
    "MinuteCount",
    "ProviderHealth",
    "ProviderPause",
    "ProviderPauseQuerySet",
    "ProviderThrottle",
    "Rate",
    "RateQuerySet",
    "RetryRule",
    "RouteTurn",
    "StatisticsEntry",
    "WaitingReceipt",
    "WebhookCount",
    "problem_with_deck",
]
