"""The retry table: when failures that may pass are tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin

from routing.admin.bases import BoundedAdmin, ProviderForm
from routing.models import RetryRule
from routing.rules.retry_table import (
    BY_CODE,
    PASSING,
    in_words,
    problem_with_delays,
    read_delays,
)
from routing.vocabulary import ErrorClass

NEVER = "Leave it blank to never retry."


class DelaysField(forms.CharField):
    """Delays as people write them; whole seconds to the model."""

    def prepare_value(self, value: Any) -> Any:
        """The seconds of a stored rule in words; what was typed stays as it is."""
        if not isinstance(value, list):
            return value
        delays = tuple(timedelta(seconds=each) for each in value)
        return in_words(delays) if delays else ""

    def to_python(self, value: Any) -> Any:
        """The seconds; says what is no delay, or not allowed."""
        try:
            delays = read_delays(super().to_python(value) or "")
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if problem := problem_with_delays(delays):
            raise forms.ValidationError(problem)
        return [int(each.total_seconds()) for each in delays]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other times are meant, however they are written."""
        try:
            return bool(self.to_python(data) != (initial or []))
        except forms.ValidationError:
            return True


class RetryRuleForm(ProviderForm):
    delays_seconds = DelaysField(
        required=False,
        label="try again after",
        widget=forms.TextInput(attrs={"size": 60}),
        help_text=f"Such as 15 min, 1 h, 12 h: after each failure, in turn. {NEVER}",
    )

    class Meta:
        model = RetryRule
        fields = [
            "error_class",
            "code",
            "channel",
            "provider",
            "delays_seconds",
            "is_active",
            "note",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "error_class" in self.fields:
            self.fields["error_class"] = forms.TypedChoiceField(
                choices=[(each.value, each.label) for each in _offered()],
                coerce=lambda value: ErrorClass(int(value)),
                help_text="Classes that are mostly final (recipient, message, "
                "provider, unmapped) need a code.",
            )


def _offered() -> list[ErrorClass]:
    """Those that pass by themselves first."""
    return [each for each in ErrorClass if each in PASSING] + [
        each for each in ErrorClass if each in BY_CODE
    ]


@admin.register(RetryRule)
class RetryRuleAdmin(BoundedAdmin):
    is_small = True
    form = RetryRuleForm
    list_display = [
        "kind",
        "code",
        "of_channel",
        "of_provider",
        "tries_again_after",
        "is_active",
        "note",
    ]
    list_display_links = ["kind", "tries_again_after"]
    list_filter = ["is_active", "channel"]

    @admin.display(description="error class", ordering="error_class")
    def kind(self, rule: RetryRule) -> str:
        """The class."""
        return rule.get_error_class_display()

    @admin.display(description="channel", ordering="channel", empty_value="all")
    def of_channel(self, rule: RetryRule) -> str | None:
        """The channel that it is for."""
        return None if rule.channel is None else rule.get_channel_display()

    @admin.display(description="provider", ordering="provider", empty_value="all")
    def of_provider(self, rule: RetryRule) -> str | None:
        """The provider that it is for."""
        return rule.provider or None

    @admin.display(description="tries again after")
    def tries_again_after(self, rule: RetryRule) -> str:
        """The delays in words."""
        return rule.in_words
