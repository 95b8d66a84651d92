"""What a token sees that is bound to what its user made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

if TYPE_CHECKING:
    # rest_framework.views imports this module, by the settings.
    from rest_framework.views import APIView


class OwnOnly(BaseFilterBackend):
    """Keeps to the rows whose `owner_lookup` is the token's user.

    Lists and single objects alike: what is not there is answered 404, whether it is
    somebody else's or nobody's. Views without `owner_lookup` refuse such tokens
    (`HasScope`).
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        """All, for a token that is not bound."""
        owner_id = getattr(request.auth, "bound_to", None)
        if owner_id is None:
            return queryset
        return queryset.filter(**{view.owner_lookup: owner_id})  # type: ignore[attr-defined]
