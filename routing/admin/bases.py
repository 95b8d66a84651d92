"""What the screens of the back office share."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from routing.providers.registry import registry


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """Offers the providers of MESSAGE_PROVIDERS, with the channel each one serves."""

    provider_fields: tuple[str, ...] = ("provider",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who may only look gets a form without fields.
        for name in set(self.provider_fields) & set(self.fields):
            field = self.fields[name]
            self.fields[name] = forms.ChoiceField(
                choices=_provider_choices(getattr(self.instance, name)),
                required=field.required,
                label=field.label,
                help_text=field.help_text,
            )


def _provider_choices(present: str) -> list[tuple[str, str]]:
    """All providers, and the present one although its name may be gone."""
    names = registry.names()
    choices = [("", "---------")]
    choices += [
        (name, f"{name} ({registry.provider_class(name).channel.label})")
        for name in names
    ]
    if present and present not in names:
        choices.append((present, f"{present} (not in MESSAGE_PROVIDERS)"))
    return choices


class ProviderFilter(admin.SimpleListFilter):
    """By provider. Django's own would look for the names in every row there is."""

    title = parameter_name = "provider"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The providers of MESSAGE_PROVIDERS."""
        return [(name, name) for name in registry.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen provider, or all."""
        name = self.value()
        if name and "\0" in name:  # PostgreSQL would refuse to look for it
            return queryset.none()
        return queryset.filter(provider=name) if name else queryset


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """For what is evidence: looked at, never changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: object | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: object | None = None
    ) -> bool:
        return False
