"""The database schema as a diagram and a list, generated from the models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.apps import apps
from django.db import models

from marketing_platform.generated_text import Section

DRAWING = Section(
    "docs/MESSAGING_ENGINE_IMPLEMENTATION.md",
    "<!-- schema: manage.py draw_schema --write -->",
    "<!-- end of schema -->",
)
APPS = ("messaging", "routing", "marketing_platform")


def drawn() -> str:
    """All tables of the project's apps, and their relations."""
    found = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    picture = ["```mermaid", "erDiagram", *_entities(found), "```"]
    return "\n".join([*picture, "", *_list(found)])


def _entities(found: Iterable[type[models.Model]]) -> Iterator[str]:
    for model in found:
        yield f"    {model.__name__} {{"
        for field in model._meta.concrete_fields:
            yield f"        {_type(field)} {field.column}{_key(field)}"
        yield "    }"
        for field in model._meta.concrete_fields:
            if isinstance(field, models.ForeignKey):
                yield _reference(model, field)


def _type(field: models.Field[object, object]) -> str:
    if isinstance(field, models.ForeignKey):
        field = field.target_field
    return field.get_internal_type().removesuffix("Field").lower()


def _key(field: models.Field[object, object]) -> str:
    if field.primary_key:
        return " PK"
    return " FK" if isinstance(field, models.ForeignKey) else ""


def _reference(model: type[models.Model], field: models.ForeignKey[object]) -> str:
    other = field.related_model
    name = other if isinstance(other, str) else other.__name__
    one = "|o" if field.null else "||"
    many = "o|" if field.unique else "o{"
    return f"    {name} {one}--{many} {model.__name__} : {field.name}"


def _list(found: Iterable[type[models.Model]]) -> Iterator[str]:
    yield "| table | what a row is |"
    yield "|---|---|"
    for model in found:
        first_line = (model.__doc__ or "").strip().partition("\n")[0]
        yield f"| `{model._meta.db_table}` | {first_line} |"
