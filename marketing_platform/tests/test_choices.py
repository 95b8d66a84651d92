"""The choices of the models' fields."""

from __future__ import annotations

import pytest
from django.apps import apps

APPS = ("marketing_platform", "messaging", "routing")
FIELDS = [
    field
    for app in APPS
    for model in apps.get_app_config(app).get_models()
    for field in model._meta.concrete_fields
    if field.choices
]


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_a_new_word_needs_no_migration(field):
    choices = field.deconstruct()[3]["choices"]

    assert callable(choices), (
        f"{field}: give `choices=X.choices` without calling it, so that migrations "
        "name the list and not its words."
    )
