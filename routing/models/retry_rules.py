"""Retry rules: when failures that may pass are tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Coalesce

from routing.models.config import problem_with_provider
from routing.providers.registry import UnknownProvider, registry
from routing.rules.retry_table import (
    RetryRule as Rule,
)
from routing.rules.retry_table import (
    in_words,
    problem_with_class,
    problem_with_delays,
)
from routing.vocabulary import Channel, ErrorClass


def whole_seconds(value: object) -> None:
    """Refuse what is no list of whole numbers; the model checks the rest."""
    if not isinstance(value, list) or any(type(each) is not int for each in value):
        raise ValidationError("Give a list of whole seconds, such as [900, 3600].")


class RetryRuleQuerySet(models.QuerySet["RetryRule"]):
    def active(self) -> RetryRuleQuerySet:
        """The rules in use."""
        return self.filter(is_active=True)


class RetryRule(models.Model):
    """When a failure of one kind is tried again, in an answer or by a receipt.

    The most specific active rule counts: one for a code, then for a provider, then for
    a channel. Those that are shipped may be changed and switched off.
    """

    error_class = models.PositiveSmallIntegerField(choices=ErrorClass.choices)
    channel = models.PositiveSmallIntegerField(
        choices=Channel.choices, null=True, blank=True, help_text="Blank: all."
    )
    provider = models.CharField(
        max_length=100, blank=True, default="", help_text="Blank: all."
    )
    code = models.CharField(
        max_length=100,
        blank=True,
        default="",
        help_text="The provider's own, as attempts show it, such as 30003. Blank: all.",
    )
    delays_seconds = models.JSONField(
        default=list,
        blank=True,
        validators=[whole_seconds],
        help_text="The delays in seconds before each further try, at most 10 of at "
        "most 30 days. An empty list: not retried.",
    )
    is_active = models.BooleanField(default=True)
    note = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RetryRuleQuerySet.as_manager()

    class Meta:
        ordering = ["error_class", "channel", "provider", "code"]
        constraints = [
            models.UniqueConstraint(
                "error_class",
                Coalesce("channel", -1),
                "provider",
                "code",
                name="one_retry_rule_per_failure",
                violation_error_code="rule_exists",
                violation_error_message="There is a rule for this class, channel, "
                "provider and code: change that one.",
            ),
        ]

    def __str__(self) -> str:
        channel = None if self.channel is None else Channel(self.channel).label
        parts = [ErrorClass(self.error_class).label, self.code, self.provider, channel]
        return ", ".join(filter(None, parts))

    def clean(self) -> None:
        """Refuse rules that could never apply, or should not."""
        problems = {
            "error_class": self._problem_with_class(),
            "provider": self._problem_with_provider(),
            "delays_seconds": problem_with_delays(self.delays),
        }
        if found := {field: text for field, text in problems.items() if text}:
            raise ValidationError(found)

    @property
    def delays(self) -> tuple[timedelta, ...]:
        """The delays before each further try."""
        seconds: Any = self.delays_seconds
        if not isinstance(seconds, Sequence) or isinstance(seconds, str):
            return ()
        numbers = [each for each in seconds if type(each) is int]
        return tuple(timedelta(seconds=min(each, 10**9)) for each in numbers)

    @property
    def in_words(self) -> str:
        """The delays for people: "15 min, 1 h, 12 h"."""
        return in_words(self.delays)

    def as_rule(self) -> Rule:
        """This row as the plain value that decisions are made from."""
        return Rule(
            error_class=ErrorClass(self.error_class),
            delays=self.delays,
            channel=None if self.channel is None else Channel(self.channel),
            provider=self.provider,
            code=self.code,
        )

    def _problem_with_class(self) -> str:
        if self.error_class not in set(ErrorClass):
            return ""  # the field itself says so
        return problem_with_class(ErrorClass(self.error_class), self.code)

    def _problem_with_provider(self) -> str:
        """One that is not in use may name a provider that is gone."""
        if not (self.provider and self.is_active):
            return ""
        if self.channel is not None:
            return problem_with_provider(self.provider, self.channel)
        try:
            registry.provider_class(self.provider)
        except UnknownProvider as error:
            return str(error)
        return ""
