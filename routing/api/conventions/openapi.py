"""Our conventions, for drf-spectacular."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import Direction

from routing.api.conventions.problems import PROBLEM_TYPE, ProblemSerializer
from routing.api.conventions.router import ID

Endpoint = tuple[str, str, str, Any]

_ALWAYS = {
    "400": "The request is invalid; `errors` says why.",
    "401": "There is no valid token.",
    "403": "The token's scope is too low.",
    "429": "Too many requests: wait for as long as `Retry-After` says.",
}
_WITH_BODY = {"413": "The body is too large.", "415": "The body is not JSON."}
_WITH_PATH = {"404": "Not found."}
_WITH_CHANGE = {"409": "The current state does not allow it."}


class ApiSchema(AutoSchema):
    """Adds the error responses of every endpoint, and forbids unknown fields."""

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        for code, meaning in self._refusals().items():
            answer = self._get_response_for_code(  # type: ignore[no-untyped-call]
                ProblemSerializer, code, [PROBLEM_TYPE], direction
            )
            bodies.setdefault(code, answer | {"description": meaning})
        return bodies

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]
        for each in parameters:
            if each["schema"].get("pattern") == f"^{ID}$":
                each["schema"] = {"type": "integer"}
        return parameters

    def _refusals(self) -> dict[str, str]:
        has_body = self.method in ("POST", "PUT", "PATCH")
        return (
            _ALWAYS
            | (_WITH_PATH if "{" in self.path else {})
            | (_WITH_BODY if has_body else {})
            | (_WITH_CHANGE if self.method != "GET" else {})
        )

    def _map_basic_serializer(self, serializer: Any, direction: str) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        properties = schema.get("properties", {})
        for name, each in properties.items():
            properties[name] = _with_default_in_words(each, direction)
        if direction == "request":
            schema["additionalProperties"] = False
        elif properties:
            schema["required"] = sorted(properties)  # we never omit any
        return schema


def _with_default_in_words(schema: dict[str, Any], direction: str) -> dict[str, Any]:
    """A field's schema with its `default` only in the description: TypeScript
    generators treat a field with a default as required, even in requests.
    """
    rest = {key: value for key, value in schema.items() if key != "default"}
    if direction == "request" and schema.get("default") not in (None, ""):
        default = f"Default: {json.dumps(schema['default'])}."
        rest["description"] = f"{schema.get('description', '')} {default}".strip()
    return rest


def without_trailing_slash(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Each path once, without its trailing slash."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints]


def name_enum_members(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Give generated clients names for the integers (x-enum-varnames)."""
    schemas = result.get("components", {}).get("schemas", {})
    for name, choices in spectacular_settings.ENUM_NAME_OVERRIDES.items():
        if name in schemas:
            schemas[name]["x-enum-varnames"] = [
                label.upper().replace(" ", "_") for _, label in choices
            ]
    return result
