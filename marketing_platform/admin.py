"""Admin screens of API tokens and the audit log."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from marketing_platform.audit.models import AuditEvent
from marketing_platform.back_office import task_queue  # noqa: F401 - registers screens
from marketing_platform.models import ApiToken
from marketing_platform.tokens.services import revoke_tokens
from routing.admin.bases import ExactSearch, ReadOnlyAdmin, RecentFilter, clipped
from routing.text.untrusted import escaped

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
        """No: `manage.py issue_token` shows a token's text once, to its owner."""
        return False

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        """Revoke them at once and for good."""
        count = revoke_tokens(tokens, now=timezone.now())
        messages.success(request, f"{count} revoked.")


class LatelyFilter(RecentFilter):
    of = "at"


@admin.register(AuditEvent)
class AuditEventAdmin(ExactSearch, ReadOnlyAdmin):
    """Who did what."""

    # Not by actor: one may have most of the rows.
    sortable_by = ["at"]
    list_display = ["at", "actor", "door", "action", "done_to", "what", "address"]
    list_filter = ["door", LatelyFilter]
    search_fields = ["actor", "object_id"]
    search_help_text = "A user name, or the full number of an object"

    def found_by(self, term: str) -> Q:
        """What a user did, and what was done to objects of this number."""
        kinds = [each._meta.label for each in apps.get_models()]
        return Q(actor=term) | Q(object_type__in=kinds, object_id=term)

    fields = (
        *("at", "door", "actor", "user", "token", "address", "source", "action"),
        *("done_to", "before_and_after"),
    )

    @admin.display(description="object")
    def done_to(self, event: AuditEvent) -> str:
        """The object it was done to, with its number."""
        what = (_kind(event.object_type), event.object_id, event.object_label)
        return clipped(" ".join(filter(None, what)), 80)

    @admin.display(description="changes")
    def before_and_after(self, event: AuditEvent) -> str:
        """Each field, with its values before and after, if it has both."""
        rows = ((name, _change(value)) for name, value in event.changes.items())
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}</li>", rows))

    @admin.display(description="changes")
    def what(self, event: AuditEvent) -> str:
        """The names of the changed fields."""
        return clipped(", ".join(event.changes), 80)


def _kind(object_type: str) -> str:
    """The model's name for people; if the model is gone, its stored name."""
    try:
        return str(apps.get_model(object_type)._meta.verbose_name)
    except (LookupError, ValueError):
        return object_type.rpartition(".")[2]


def _change(value: object) -> str:
    """One field's change; not always a value before and one after."""
    match value:
        case [None, after]:
            return _value(after)
        case [before, after]:
            return f"{_value(before)} → {_value(after)}"
    return _value(value)


def _value(value: object) -> str:
    match value:
        case None:
            return "none"
        case "":
            return "blank"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
        case list():
            return ", ".join(map(_value, value)) or "none"
    return escaped(f"{value}")
