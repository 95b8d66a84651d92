"""What a token sees that is restricted to its user's own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

if TYPE_CHECKING:
    # rest_framework.views imports this module, through the settings.
    from rest_framework.views import APIView


class OwnOnly(BaseFilterBackend):
    """Limits a view to the rows whose `owner_lookup` is the token's user.

    For lists and single objects: another user's object is answered 404, like one that
    does not exist. Views without `owner_lookup` refuse such tokens (`HasScope`).
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        """The user's rows; all rows for an unrestricted token."""
        owner_id = getattr(request.auth, "bound_to", None)
        if owner_id is None:
            return queryset
        return queryset.filter(**{view.owner_lookup: owner_id})  # type: ignore[attr-defined]
