"""What every body keeps: camelCase, integer enums, and no field that we do not know.

Serializers declare their fields in snake_case, as the models have them; the fields are
renamed when they are built, so that DRF and the OpenAPI document see the wire names.
DRF's `validate_<field>` hooks would need the wire name too: use `validate`.
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

# DRF takes "yes" for true and "7" for 7. JSON can say what it means.
_JSON_TYPES: list[tuple[type[serializers.Field[Any, Any, Any, Any]], Any, str]] = [
    (serializers.BooleanField, bool, "true or false"),
    (serializers.IntegerField, int, "a whole number"),
    (serializers.FloatField, (int, float), "a number"),
    (serializers.CharField, str, "a text in quotes"),
    (serializers.DateTimeField, str, "a date-time in quotes"),
]


class TermField(serializers.ChoiceField):
    """A word of a vocabulary, as its integer."""

    default_error_messages = {"invalid_choice": "Choose one of: {allowed}."}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("validators", None)  # the column's range, which differs by database
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        """The integer; texts and fractions are none."""
        if type(data) is not int or data not in self.choices:
            self.fail("invalid_choice", allowed=listed(self.choices))
        return data


class _Named(serializers.Serializer[Any]):
    """Wire names, and a refusal of all others."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The fields by their wire names."""
        renamed = {}
        for name, field in super().get_fields().items():
            wire = camel_case(name)
            if wire != name:
                _point_at(field, name)
            renamed[wire] = field
        return renamed

    def to_internal_value(self, data: Any) -> Any:
        """As DRF does it, once the names and the types are right."""
        if isinstance(data, Mapping):
            problems = unknown_names(data, self.fields)
            if problems:
                raise ValidationError(dict(problems), code="unknown")
            if problems := self.wrong_types(data):
                raise ValidationError(dict(problems), code="type")
        return super().to_internal_value(data)

    def wrong_types(self, data: Mapping[str, Any]) -> dict[str, str]:
        """A problem for each value that JSON would write in another way."""
        return {
            name: f"This must be {wanted}."
            for name, value in data.items()
            if (wanted := _wanted_instead(self.fields[name], value))
        }


def _point_at(field: Any, name: str) -> None:
    """Keep a field on its attribute although its own name becomes another."""
    if isinstance(field, serializers.SerializerMethodField):
        field.method_name = field.method_name or f"get_{name}"
    elif field.source is None:
        field.source = name


def _wanted_instead(field: Any, value: Any) -> str:
    """What the JSON type should be; "" when it is that."""
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
    """A body that is no model's."""


class QuerySerializer(_Named):
    """The parameters of a query string: all of them texts, each of them one."""

    def wrong_types(self, data: Mapping[str, Any]) -> dict[str, str]:
        """A problem for each one that DRF would take for left out."""
        return not_one_value(data) if isinstance(data, QueryDict) else {}


class ApiModelSerializer(_Named, serializers.ModelSerializer[Any]):
    """A body that is a model's; the model's own rules decide.

    `field_of_rule` says at which field a rule about several of them is reported, by the
    code of the constraint.
    """

    field_of_rule: Mapping[str, str] = {}
    serializer_choice_field = TermField

    def get_unique_together_validators(self) -> list[Any]:
        """None: `full_clean` holds all of them, with the model's words."""
        return []

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask the model, as the back office does."""
        self.checked(attrs)
        return attrs

    def checked(self, attrs: dict[str, Any]) -> Any:
        """What would be saved, after `full_clean`; its problems by their wire names."""
        candidate = _changed(self.instance, attrs, self.Meta.model)
        try:
            candidate.full_clean()
        except ModelProblems as problems:
            raise ValidationError(wire_errors(problems, self.field_of_rule)) from None
        return candidate


def _changed(
    instance: models.Model | None, attrs: dict[str, Any], model: type[models.Model]
) -> models.Model:
    """A copy with these values, so that a refusal leaves the row as it was."""
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
    """A model's problems, by wire name, with their codes."""
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
