"""What providers charge."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from routing.providers.registry import registry
from routing.rules.costs import problem_with_country, problem_with_prefix
from routing.vocabulary import (
    Channel,
)


class RateQuerySet(models.QuerySet["Rate"]):
    def deck(self, *, provider: str, channel: Channel) -> RateQuerySet:
        """All prices of a provider on a channel, past, present and future."""
        return self.filter(provider=provider, channel=channel)


class Rate(models.Model):
    """A line of a rate deck: a provider's price for a destination, from a day on.

    It is valid until a later line of the same prefix and country.
    `routing.rules.costs` decides which line prices a recipient.
    """

    provider = models.CharField(max_length=100)
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    dial_prefix = models.CharField(
        max_length=15,
        blank=True,
        default="",
        help_text="Leading digits of the number, such as 4479; empty: all numbers of "
        "the country.",
    )
    country = models.CharField(
        max_length=2,
        blank=True,
        default="",
        help_text="ISO 3166, such as GB; empty: whatever country has the prefix.",
    )
    price = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        help_text="Per segment of an SMS, per message of other channels.",
    )
    currency = models.CharField(max_length=3, help_text="ISO 4217, such as EUR.")
    valid_from = models.DateField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RateQuerySet.as_manager()

    class Meta:
        ordering = ["provider", "channel", "dial_prefix", "country", "-valid_from"]
        constraints = [
            # Its index also serves the reading of a whole deck.
            models.UniqueConstraint(
                fields=["provider", "channel", "dial_prefix", "country", "valid_from"],
                name="one_rate_per_destination_and_day",
                violation_error_message="The deck has a price of this prefix, country "
                "and day: change that one.",
            ),
            models.CheckConstraint(
                condition=~Q(dial_prefix="", country=""),
                name="rate_has_a_prefix_or_a_country",
                violation_error_message="Give a dial prefix, a country, or both.",
            ),
            models.CheckConstraint(
                condition=Q(dial_prefix__regex=r"^([1-9][0-9]*)?$"),
                name="rate_prefix_is_digits",
                violation_error_message="The dial prefix has digits only, and starts "
                "with the country code, without zeros before it.",
            ),
            models.CheckConstraint(
                condition=Q(country__regex=r"^([A-Z][A-Z])?$"),
                name="rate_country_is_two_letters",
                violation_error_message="The country is a code such as GB.",
            ),
            models.CheckConstraint(
                condition=Q(price__gte=0),
                name="rate_price_not_negative",
                violation_error_message="The price is below 0.",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z][A-Z][A-Z]$"),
                name="rate_currency_is_three_letters",
                violation_error_message="The currency is a code such as EUR.",
            ),
        ]

    def __str__(self) -> str:
        place = " ".join(filter(None, [self.dial_prefix, self.country]))
        return f"{self.provider} to {place} from {self.valid_from}"

    def clean(self) -> None:
        """Refuse providers and places that do not exist: no message would match."""
        problems = {
            "dial_prefix": problem_with_prefix(self.dial_prefix),
            "country": problem_with_country(self.country),
        }
        if self.provider and self.channel in set(Channel):
            problems["provider"] = problem_with_deck(
                self.provider, Channel(self.channel)
            )
        if found := {field: text for field, text in problems.items() if text}:
            raise ValidationError(found)


def problem_with_deck(provider: str, channel: Channel) -> str:
    """Why this provider cannot have a rate deck on the channel; "" if it can."""
    if problem := registry.problem_on_channel(provider, channel):
        return problem
    if channel == Channel.EMAIL:
        return (
            "E-mail addresses have no dial prefix or country to price by. Set the "
            "provider's option UNIT_PRICE instead."
        )
    return ""
