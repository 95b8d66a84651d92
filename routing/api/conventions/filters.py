"""Filters in the query string, named in camelCase; unknown ones are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from django.http import QueryDict
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from routing.api.conventions.naming import camel_case, unknown_names
from routing.vocabulary import ChoiceEnum

if TYPE_CHECKING:
    # rest_framework.views imports this module, through the settings.
    from rest_framework.views import APIView


class TermFilter(filters.TypedChoiceFilter):  # type: ignore[misc]
    """By a member of an enum, as its integer."""

    def __init__(self, terms: type[ChoiceEnum], **kwargs: Any) -> None:
        super().__init__(
            choices=terms.choices(),
            coerce=int,
            error_messages={"invalid_choice": f"Choose one of: {listed(terms)}."},
            **kwargs,
        )


@extend_schema_field(OpenApiTypes.BOOL)
class FlagFilter(filters.TypedChoiceFilter):  # type: ignore[misc]
    """By `true` or `false`; django-filter's own ignores any other value."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=[("true", "true"), ("false", "false")],
            coerce=lambda text: text == "true",
            error_messages={"invalid_choice": "Choose true or false."},
            **kwargs,
        )


class ApiFilterSet(filters.FilterSet):  # type: ignore[misc]
    """Declares filters in snake_case; in the query string they are in camelCase."""

    @classmethod
    def get_filters(cls) -> dict[str, Any]:
        """The filters by their wire names."""
        return {camel_case(name): each for name, each in super().get_filters().items()}


class StrictFilterBackend(filters.DjangoFilterBackend):  # type: ignore[misc]
    """Refuses parameters that neither the filter set nor the pagination knows.

    If it were ignored, a misspelt or empty filter would return everything. The view's
    `query_names` may allow more.
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        """The rows that pass; 400 lists the bad parameters."""
        filterset = self.get_filterset_class(view, queryset)
        known = set(filterset.base_filters) if filterset else set()
        known |= getattr(getattr(view, "paginator", None), "query_names", set())
        known |= set(getattr(view, "query_names", ()))
        if problems := unknown_names(request.query_params, known):
            raise ValidationError(dict(problems), code="unknown")
        if problems := not_one_value(request.query_params):
            raise ValidationError(dict(problems), code="not_one_value")
        passed: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return passed


def not_one_value(parameters: QueryDict) -> dict[str, str]:
    """A problem for each parameter that is empty or repeated."""
    return {
        name: "Give it one value, or leave it out."
        for name, values in parameters.lists()
        if len(values) != 1 or not values[0]
    }


def listed(terms: type[ChoiceEnum] | Mapping[int, str]) -> str:
    """The allowed values with their names: `0 (SMS), 1 (MMS)`."""
    pairs = terms.items() if isinstance(terms, Mapping) else terms.choices()
    return ", ".join(f"{value} ({label})" for value, label in pairs)
