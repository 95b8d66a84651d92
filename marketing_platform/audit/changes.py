"""What an act changed, as JSON without secrets and recipients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from django.db.models import Model

from marketing_platform.masking import mask

# Of these only the fact that they changed is recorded.
SECRET = frozenset({"password", "digest"})
SECRET_VALUE = "(secret)"  # noqa: S105 - shown instead
# Fields that change by themselves.
OWN_NOTES = frozenset({"last_login", "last_used_at", "tat", "factor", "slowed_at"})
OWN_NOTES |= {"created_at", "updated_at", "id"}
LONGEST = 500  # characters of a value; a campaign's text may have 262,144

Values = Mapping[str, Any]


def values_of(row: Model | None) -> dict[str, Any]:
    """A row's fields; none for None."""
    if row is None:
        return {}
    return {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.name not in OWN_NOTES
    }


def differences(before: Values, after: Values) -> dict[str, list[Any]]:
    """Each field that differs, with its value before and after; None: no value."""
    names = [*after, *(name for name in before if name not in after)]
    return {
        name: [_shown(name, before.get(name)), _shown(name, after.get(name))]
        for name in names
        if before.get(name) != after.get(name)
    }


def plain(value: Any) -> Any:
    """A value as JSON, shortened and masked."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(_text(value)[:LONGEST])


def _text(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _shown(name: str, value: Any) -> Any:
    return SECRET_VALUE if name in SECRET and value is not None else plain(value)
