"""Routes: which providers carry the messages of a channel."""

from __future__ import annotations

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import (
    MaxValueValidator,
    MinValueValidator,
    RegexValidator,
)
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from phonenumbers import country_code_for_region

from routing.custom_policies import PolicyNotUsable, load_policy
from routing.providers.registry import registry
from routing.rules.retry import LONGEST_DELAY, RetryPolicy, policy_for, schedule
from routing.rules.retry_table import exact_duration, in_words
from routing.rules.route import Route, Scope
from routing.rules.thresholds import Thresholds
from routing.text.quantities import quantity
from routing.vocabulary import (
    CampaignKind,
    Channel,
    RetryStrategy,
    RoutingStrategy,
    UnknownOutcomePolicy,
)

RETRIES_SHOWN = 10
_LONGEST_DELAY = int(LONGEST_DELAY.total_seconds())
# The range of PostgreSQL's type; SQLite would take more.
_SMALL = MaxValueValidator(2**15 - 1)


class ChannelRoutingConfigQuerySet(models.QuerySet["ChannelRoutingConfig"]):
    def active(self) -> ChannelRoutingConfigQuerySet:
        """The routes in use, the first choice of a channel first."""
        return (
            self.filter(is_active=True)
            .order_by("channel", "-priority", "id")
            .prefetch_related("further_providers")
        )

    def of_same_scope(
        self, route: ChannelRoutingConfig
    ) -> ChannelRoutingConfigQuerySet:
        """Routes for the same messages as this one, active or not."""
        return self.filter(
            channel=route.channel,
            country=route.country,
            dial_prefix=route.dial_prefix,
            campaign_kind=route.campaign_kind,
        )


class ChannelRoutingConfig(models.Model):
    """A route: which providers carry the messages of a channel, and how hard to try.

    The most specific active route of a channel is used; among equally specific ones,
    the one with the highest priority.
    """

    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    country = models.CharField(
        max_length=2,
        blank=True,
        default="",
        validators=[RegexValidator(r"^[A-Z]{2}\Z", "Two letters, such as DE or US.")],
        help_text="Only for recipients of this country (ISO code). Blank: all.",
    )
    dial_prefix = models.CharField(
        max_length=15,
        blank=True,
        default="",
        validators=[RegexValidator(r"^[1-9][0-9]*\Z", "Digits only, without the +.")],
        help_text="Only for numbers that begin so, such as 49151. Blank: all.",
    )
    campaign_kind = models.PositiveSmallIntegerField(
        choices=CampaignKind.choices,
        null=True,
        blank=True,
        help_text="Only for campaigns of this kind. Blank: all.",
    )
    routing_strategy = models.PositiveSmallIntegerField(
        choices=RoutingStrategy.choices,
        default=RoutingStrategy.PRIMARY,
    )
    primary_provider = models.CharField(max_length=100)
    fallback_provider = models.CharField(max_length=100, blank=True, default="")
    enable_fallback = models.BooleanField(default=True)
    primary_weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[_SMALL],
        help_text="Share of a RoundRobin route; 0 is none.",
    )
    fallback_weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[_SMALL],
        help_text="Share of a RoundRobin route; 0 is none.",
    )
    maximum_cost = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="A provider that asks more for the whole message is not used.",
    )
    currency = models.CharField(
        max_length=3,
        default="USD",
        validators=[RegexValidator(r"^[A-Z]{3}\Z", "Three letters, such as USD.")],
        help_text="Prices are compared in it; one in another currency is unknown.",
    )
    minimum_quality = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="A provider that delivers a smaller share, from 0 to 1, is not used "
        "while another one does better.",
    )
    max_retries = models.PositiveSmallIntegerField(
        default=3,
        validators=[MaxValueValidator(100)],
        help_text="Further rounds after the first one failed.",
    )
    retry_strategy = models.PositiveSmallIntegerField(
        choices=RetryStrategy.choices, default=RetryStrategy.EXPONENTIAL
    )
    initial_retry_delay_seconds = models.PositiveIntegerField(
        default=60, validators=[MaxValueValidator(_LONGEST_DELAY)]
    )
    max_retry_delay_seconds = models.PositiveIntegerField(
        default=3600, validators=[MaxValueValidator(_LONGEST_DELAY)]
    )
    custom_retry_policy = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Dotted path of a retry policy; for the Custom strategy only.",
    )
    unknown_outcome_policy = models.PositiveSmallIntegerField(
        choices=UnknownOutcomePolicy.choices,
        default=UnknownOutcomePolicy.WAIT,
        help_text="When nobody can say whether a message was sent: Wait for a receipt "
        "and never send twice (marketing), or Resend (codes and alerts).",
    )
    is_active = models.BooleanField(default=True)
    priority = models.PositiveIntegerField(
        default=1,
        validators=[MaxValueValidator(2**31 - 1)],
        help_text="Of equally specific active routes the highest number serves.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ChannelRoutingConfigQuerySet.as_manager()

    class Meta:
        verbose_name = "route"
        ordering = ["channel", "-priority", "id"]
        constraints = [
            models.UniqueConstraint(
                "channel",
                "country",
                "dial_prefix",
                Coalesce("campaign_kind", -1),
                "priority",
                condition=Q(is_active=True),
                name="one_active_route_per_scope_and_priority",
                violation_error_code="priority_taken",
                violation_error_message="Another active route of this channel has this "
                "scope and priority: choose another, or deactivate the other route.",
            ),
            models.CheckConstraint(
                condition=Q(
                    max_retry_delay_seconds__gte=F("initial_retry_delay_seconds")
                ),
                name="retry_delay_maximum_not_below_initial",
                violation_error_code="maximum_below_initial",
                violation_error_message="The maximum retry delay is below the initial "
                "one.",
            ),
            models.CheckConstraint(
                condition=Q(enable_fallback=False) | ~Q(fallback_provider=""),
                name="enabled_fallback_names_a_provider",
                violation_error_code="fallback_missing",
                violation_error_message="Fallback is enabled: choose the provider to "
                "fall back to, or disable it.",
            ),
            models.CheckConstraint(
                condition=~Q(fallback_provider=F("primary_provider")),
                name="fallback_differs_from_primary",
                violation_error_code="fallback_is_primary",
                violation_error_message="The fallback provider is the primary one: "
                "choose another.",
            ),
            models.CheckConstraint(
                condition=Q(
                    retry_strategy=RetryStrategy.CUSTOM, custom_retry_policy__gt=""
                )
                | Q(custom_retry_policy="") & ~Q(retry_strategy=RetryStrategy.CUSTOM),
                name="custom_retry_policy_only_for_custom",
                violation_error_code="policy_and_strategy",
                violation_error_message="The Custom retry strategy, and only that, "
                "takes the dotted path of a policy.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} by {self.primary_provider}"

    def clean(self) -> None:
        """Refuse providers that do not exist or are for another channel."""
        errors = {
            field: problem
            for field in ("primary_provider", "fallback_provider")
            if (problem := problem_with_provider(getattr(self, field), self.channel))
        }
        if problem := self._problem_with_policy():
            errors["custom_retry_policy"] = problem
        if problem := self._problem_with_scope():
            errors["dial_prefix"] = problem
        if errors:
            raise ValidationError(errors)

    @property
    def providers(self) -> tuple[str, ...]:
        """The route's providers, in order, each once."""
        further = [each.provider for each in self.further_providers.all()]
        first = [self.primary_provider, self.fallback_provider]
        return tuple(dict.fromkeys(name for name in [*first, *further] if name))

    @property
    def weights(self) -> dict[str, int]:
        """The share of each provider in a RoundRobin route."""
        further = {each.provider: each.weight for each in self.further_providers.all()}
        return further | {
            self.fallback_provider: self.fallback_weight,
            self.primary_provider: self.primary_weight,
        }

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy that decides the delay before the next round."""
        return policy_for(
            RetryStrategy(self.retry_strategy),
            initial=timedelta(seconds=self.initial_retry_delay_seconds),
            maximum=timedelta(seconds=self.max_retry_delay_seconds),
            custom=load_policy(self.custom_retry_policy)
            if self.custom_retry_policy
            else None,
        )

    @property
    def retry_times(self) -> str:
        """When a message is tried again if a provider fails each time, for people."""
        if self.retry_strategy == RetryStrategy.CUSTOM:
            return f"As {self.custom_retry_policy} decides."
        delays = schedule(self.retry_policy, rounds=self.max_retries)
        if not delays:
            return "Not tried again."
        shown = in_words(delays[:RETRIES_SHOWN])
        more = ", ..." if len(delays) > RETRIES_SHOWN else ""
        last = exact_duration(sum(delays, timedelta()))
        return f"After {shown}{more}: the last try is {last} after the first."

    def as_route(self) -> Route:
        """This config as the plain value that decisions are made from."""
        return Route(
            config_id=self.pk,
            channel=Channel(self.channel),
            strategy=RoutingStrategy(self.routing_strategy),
            providers=self.providers,
            is_fallback_enabled=self.enable_fallback,
            max_retries=self.max_retries,
            retry_policy=self.retry_policy,
            unknown_outcome_policy=UnknownOutcomePolicy(self.unknown_outcome_policy),
            scope=self.scope,
            priority=self.priority,
            weights=self.weights,
            thresholds=Thresholds(self.maximum_cost, self.minimum_quality),
            currency=self.currency,
        )

    @property
    def scope(self) -> Scope:
        """Which messages the route is for."""
        kind = self.campaign_kind
        return Scope(
            self.country,
            self.dial_prefix,
            None if kind is None else CampaignKind(kind),
        )

    def _problem_with_scope(self) -> str:
        """A scope that matches no message would make the route useless, unnoticed."""
        if self.channel == Channel.EMAIL and (self.dial_prefix or self.country):
            return "E-mail addresses have neither a country nor a dial prefix."
        if not (self.country and self.dial_prefix):
            return ""
        code = str(country_code_for_region(self.country))
        if code.startswith(self.dial_prefix) or self.dial_prefix.startswith(code):
            return ""
        return f"No number in {self.country} starts with +{self.dial_prefix}."

    def _problem_with_policy(self) -> str:
        if not self.custom_retry_policy:
            return ""
        try:
            load_policy(self.custom_retry_policy)
        except PolicyNotUsable as error:
            return str(error)
        return ""


def problem_with_provider(name: str, channel: int | None) -> str:
    """Why a route of this channel cannot use this provider; "" if it can."""
    if not name or channel not in set(Channel):
        return ""  # the field itself says so
    return registry.problem_on_channel(name, Channel(channel))


class FurtherProvider(models.Model):
    """A provider of a route after its first two."""

    route = models.ForeignKey(
        ChannelRoutingConfig, on_delete=models.CASCADE, related_name="further_providers"
    )
    position = models.PositiveSmallIntegerField(
        default=3, help_text="Its place in the route's order."
    )
    provider = models.CharField(max_length=100)
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[_SMALL],
        help_text="Share of a RoundRobin route; 0 is none.",
    )

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["route", "provider"], name="each_provider_once_per_route"
            ),
            models.UniqueConstraint(
                fields=["route", "position"], name="one_provider_per_position"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.position}. {self.provider}"

    def clean(self) -> None:
        """Refuse providers that do not exist, serve another channel, or come twice."""
        problem = problem_with_provider(self.provider, self.route.channel)
        if self.provider in (self.route.primary_provider, self.route.fallback_provider):
            problem = f"{self.provider} is already in this route."
        if problem:
            raise ValidationError({"provider": problem})


class RouteTurn(models.Model):
    """How many turns a RoundRobin route has given out, to all workers together."""

    route = models.OneToOneField(
        ChannelRoutingConfig,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="turn",
    )
    count = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return quantity(self.count, "turn")
