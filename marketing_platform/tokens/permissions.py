"""What a token may do: each view declares the scope it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from marketing_platform.tokens.models import ApiToken
from marketing_platform.tokens.vocabulary import TokenScope

if TYPE_CHECKING:
    # rest_framework.views imports this module, through the settings.
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Compares the token with the view's `required_scope`: read, send, admin or
    monitor.

    A view set whose actions differ has a mapping, action -> scope. A view without a
    scope is closed to all.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        token = request.auth
        if not isinstance(token, ApiToken):
            return False
        is_there = request.method in view.allowed_methods
        if not is_there or request.method == "OPTIONS":
            return True  # the view answers 405
        scope = _scope_of(view)
        if scope is not None and not token.allows(scope):
            raise PermissionDenied(
                f"This needs a token with scope {scope.name.lower()}; yours has "
                f"{token.get_scope_display().lower()}."
            )
        if token.own_only and not hasattr(view, "owner_lookup"):
            raise PermissionDenied(
                "This token is limited to its user's own messages and campaigns."
            )
        return scope is not None


def _scope_of(view: APIView) -> TokenScope | None:
    declared = getattr(view, "required_scope", None)
    if isinstance(declared, Mapping):
        declared = declared.get(getattr(view, "action", None))
    return TokenScope[declared.upper()] if declared else None
