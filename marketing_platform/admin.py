"""The back office of the API's tokens: looked at and revoked, never read."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent
from marketing_platform.back_office import task_queue  # noqa: F401 - registers screens
from marketing_platform.models import ApiToken
from marketing_platform.tokens.services import revoke_tokens
from routing.admin.bases import ReadOnlyAdmin, RecentFilter, clipped

FIELDS = (
    "prefix",
    "name",
    "user",
    "scope",
    "own_only",
    "created_at",
    "expires_at",
    "revoked_at",
    "last_used_at",
)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    fields = FIELDS
    list_display = [name for name in FIELDS if name != "created_at"]
    list_filter = ["scope"]
    search_fields = ["prefix", "name", "user__username"]
    list_select_related = ["user"]
    readonly_fields = [name for name in FIELDS if name != "name"]
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No: `manage.py issue_token` shows the text to whom it is for."""
        return False

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        """At once, and for good."""
        count = revoke_tokens(tokens, now=timezone.now())
        messages.success(request, f"{count} revoked.")


class LatelyFilter(RecentFilter):
    of = "at"


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what."""

    list_display = ["at", "actor", "door", "action", "done_to", "what", "address"]
    list_filter = ["door", LatelyFilter]
    search_fields = ["=actor", "=action", "=object_id"]
    search_help_text = "A user name, an action, or the number of an object in full"

    @admin.display(description="object")
    def done_to(self, event: AuditEvent) -> str:
        """What it was done to, with its number."""
        kind = event.object_type.rpartition(".")[2]
        return clipped(f"{kind} {event.object_id} {event.object_label}".strip(), 40)

    @admin.display(description="changes")
    def what(self, event: AuditEvent) -> str:
        """The names of what changed."""
        return clipped(", ".join(event.changes), 40)
