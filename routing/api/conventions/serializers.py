"""Rules of all bodies: camelCase, enums as integers, and no unknown fields.

Serializers declare their fields in snake_case, like the models; the fields are renamed
when they are built, so that DRF and the OpenAPI document see the names on the wire.
DRF's `validate_<field>` hooks would need those names too: use `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as ModelProblems
from django.db import models
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from routing.api.conventions.filters import listed, not_one_value
from routing.api.conventions.naming import camel_case, unknown_names

# DRF accepts "yes" as true and "7" as 7. JSON has types of its own for these.
_JSON_TYPES: list[tuple[type[serializers.Field[Any, Any, Any, Any]], Any, str]] = [
    (serializers.BooleanField, bool, "true or false"),
    (serializers.IntegerField, int, "a whole number"),
    (serializers.FloatField, (int, float), "a number"),
    (serializers.CharField, str, "a text in quotes"),
    (serializers.DateTimeField, str, "a date-time in quotes"),
]


class TermField(serializers.ChoiceField):
    """A member of an enum, as its integer."""

    default_error_messages = {"invalid_choice": "Choose one of: {allowed}."}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("validators", None)  # the column's range, which differs by database
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        """The integer; texts and fractions are refused."""
        if type(data) is not int or data not in self.choices:
            self.fail("invalid_choice", allowed=listed(self.choices))
        return data


class _Named(serializers.Serializer[Any]):
    """Uses the names on the wire, and refuses all others."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The fields by their names on the wire."""
        renamed = {}
        for name, field in super().get_fields().items():
            wire = camel_case(name)
            if wire != name:
                _point_at(field, name)
            renamed[wire] = field
        return renamed

    def to_internal_value(self, data: Any) -> Any:
        """Like DRF, after checking the names and types."""
        if isinstance(data, Mapping):
            problems = unknown_names(data, self.fields)
            if problems:
                raise ValidationError(dict(problems), code="unknown")
            if problems := self.wrong_types(data):
                raise ValidationError(dict(problems), code="type")
        return super().to_internal_value(data)

    def wrong_types(self, data: Mapping[str, Any]) -> dict[str, str]:
        """A problem for each value of the wrong JSON type."""
        return {
            name: f"This must be {wanted}."
            for name, value in data.items()
            if (wanted := _wanted_instead(self.fields[name], value))
        }


def _point_at(field: Any, name: str) -> None:
    """Keep a field on its attribute although it is renamed."""
    if isinstance(field, serializers.SerializerMethodField):
        field.method_name = field.method_name or f"get_{name}"
    elif field.source is None:
        field.source = name


def _wanted_instead(field: Any, value: Any) -> str:
    """What the JSON type should be; "" if it is right."""
    if value is None or field.read_only:
        return ""
    for cls, types, wanted in _JSON_TYPES:
        if isinstance(field, cls):
            is_fine = isinstance(value, types) and isinstance(value, bool) == (
                types is bool
            )
            return "" if is_fine else wanted
    return ""


class ApiSerializer(_Named):
    """A body without a model."""


class QuerySerializer(_Named):
    """The parameters of a query string: texts, with one value each."""

    def wrong_types(self, data: Mapping[str, Any]) -> dict[str, str]:
        """A problem for each one that DRF would treat as missing."""
        return not_one_value(data) if isinstance(data, QueryDict) else {}


class ApiModelSerializer(_Named, serializers.ModelSerializer[Any]):
    """A body with a model, whose own rules decide.

    `field_of_rule` gives the field at which a rule about several fields is reported, by
    the constraint's code.
    """

    field_of_rule: Mapping[str, str] = {}
    serializer_choice_field = TermField

    def get_unique_together_validators(self) -> list[Any]:
        """None: `full_clean` checks all of them, with the model's messages."""
        return []

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the model check the values, as in the back office."""
        self.checked(attrs)
        return attrs

    def checked(self, attrs: dict[str, Any]) -> Any:
        """What would be saved, after `full_clean`. Its problems have wire names."""
        candidate = _changed(self.instance, attrs, self.Meta.model)
        try:
            candidate.full_clean()
        except ModelProblems as problems:
            raise ValidationError(wire_errors(problems, self.field_of_rule)) from None
        return candidate


def _changed(
    instance: models.Model | None, attrs: dict[str, Any], model: type[models.Model]
) -> models.Model:
    """A copy with these values, so that a refusal leaves the instance unchanged."""
    kept = {}
    if instance is not None:
        kept = {f.attname: getattr(instance, f.attname) for f in model._meta.fields}
    candidate = model(**kept)
    candidate._state.adding = instance is None
    for name, value in attrs.items():
        setattr(candidate, name, value)
    return candidate


def wire_errors(
    problems: ModelProblems, field_of_rule: Mapping[str, str] | None = None
) -> dict[str, list[ErrorDetail]]:
    """A model's problems by the name on the wire, with their codes."""
    rules = field_of_rule or {}
    found: dict[str, list[ErrorDetail]] = {}
    for field, errors in problems.error_dict.items():
        for each in errors:
            wire = rules.get(each.code or "") or _wire_name(field)
            details = [
                ErrorDetail(text, each.code or "invalid") for text in each.messages
            ]
            found.setdefault(wire, []).extend(details)
    return found


def _wire_name(field: str) -> str:
    return "non_field_errors" if field == NON_FIELD_ERRORS else camel_case(field)
