"""Base classes of the back office's screens."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator, capfirst

from routing.providers.registry import registry
from routing.text.untrusted import escaped


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """Offers the providers of MESSAGE_PROVIDERS, each with its channel."""

    provider_fields: tuple[str, ...] = ("provider",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Users who may only view get a form without fields.
        for name in set(self.provider_fields) & set(self.fields):
            field = self.fields[name]
            self.fields[name] = forms.ChoiceField(
                choices=_provider_choices(getattr(self.instance, name)),
                required=field.required,
                label=field.label,
                help_text=field.help_text,
            )


def _provider_choices(present: str) -> list[tuple[str, str]]:
    """All providers, and the current one even if its name is gone."""
    names = registry.names()
    choices = [("", "---------")]
    choices += [
        (name, f"{name} ({registry.provider_class(name).channel.label})")
        for name in names
    ]
    if present and present not in names:
        choices.append((present, f"{present} (not in MESSAGE_PROVIDERS)"))
    return choices


class ProviderFilter(admin.SimpleListFilter):
    """By provider. Django's own would search every row for the names."""

    title = parameter_name = "provider"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The providers of MESSAGE_PROVIDERS."""
        return [(name, name) for name in registry.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen provider, or all."""
        name = self.value()
        if name and "\0" in name:  # PostgreSQL would refuse the query
            return queryset.none()
        return queryset.filter(provider=name) if name else queryset


class RecentFilter(admin.SimpleListFilter):
    """By how long ago; `of` names the field of the time."""

    title, parameter_name = "time", "when"
    of = "attempted_at"
    SPANS = {
        "15min": ("Last 15 minutes", timedelta(minutes=15)),
        "1h": ("Last hour", timedelta(hours=1)),
        "24h": ("Last 24 hours", timedelta(days=1)),
        "7d": ("Last 7 days", timedelta(days=7)),
    }

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The spans of time, by their names in the address."""
        return [(name, label) for name, (label, _) in self.SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those within the chosen span, or all."""
        if (chosen := self.value()) not in self.SPANS:
            return queryset
        _, span = self.SPANS[chosen]
        return queryset.filter(**{f"{self.of}__gt": timezone.now() - span})


class BoundedPaginator(Paginator[Any]):
    """Counts and pages no further than a limit: to find one row among millions, filter
    or search.
    """

    COUNT_AT_MOST = 10_000

    def __init__(self, *args: Any, at_most: int = COUNT_AT_MOST, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at_most = at_most

    @cached_property
    def found(self) -> int:
        """How many there are, or one more than the limit."""
        rows = self.object_list[: self._at_most + 1]
        return rows.count() if isinstance(rows, QuerySet) else len(rows)

    @cached_property
    def count(self) -> int:
        """How many there are, at most as many as the limit."""
        return min(self.found, self._at_most)

    @property
    def is_all(self) -> bool:
        """Whether it counted all there are."""
        return self.found <= self._at_most


def clipped(text: str, length: int) -> str:
    """A text cut to fit its column, with the whole text as a tooltip."""
    if not text:
        return ""  # shown like any missing value
    text = escaped(text)  # a bidirectional override would reverse the whole row
    short = Truncator(text).chars(length)
    title = text if short != text else ""
    return format_html(
        '<span class="office-clipped" title="{}">{}</span>', title, short
    )


def bulleted(lines: Iterable[object]) -> str:
    """A list for the page of a row; blank without lines."""
    items = format_html_join("", "<li>{}</li>", ((escaped(f"{e}"),) for e in lines))
    return format_html("<ul>{}</ul>", items) if items else ""


class BoundedActions(admin.ModelAdmin):  # type: ignore[type-arg]
    """Limits an action to as many rows as one request can handle: each row costs some
    statements, and "Select all" of a list may mean a million.
    """

    ACTED_ON_AT_MOST = 500
    # Actions that see to it themselves.
    unbounded_actions: frozenset[str] = frozenset()

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Any:
        """None shows the list again. Only "Select all" exceeds a page."""
        most = self.ACTED_ON_AT_MOST
        is_all = request.POST.get("select_across", "0") != "0"
        is_bounded = not self.unbounded_actions.issuperset(
            request.POST.getlist("action")
        )
        if is_all and is_bounded and queryset.order_by()[: most + 1].count() > most:
            text = (
                f"Nothing was done: an action takes at most {most} rows at once. "
                "Filter the list, or choose fewer."
            )
            self.message_user(request, text, messages.WARNING)
            return None
        return super().response_action(request, queryset, *args, **kwargs)


class SortedByIndex(ChangeList):
    """Ignores `?o=` for columns that are not offered for sorting."""

    def get_ordering_field(self, field_name: Any) -> Any:
        """What to order by; None leaves the column out."""
        if self.sortable_by is not None and field_name not in self.sortable_by:
            return None
        return super().get_ordering_field(field_name)


def is_indexed_alone(model: type[Model], name: str) -> bool:
    """Whether an index of this field alone covers all rows: it serves an ordering by
    the field and the id, wherever a page starts.
    """
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    if getattr(field, "unique", False) or getattr(field, "db_index", False):
        return True
    alone = ([field.name], [f"-{field.name}"])
    return any(
        each.fields in alone and each.condition is None for each in model._meta.indexes
    )


def label_parts(field: forms.Field, label: str) -> None:
    """Give the two inputs of a time labels of their own, for screen readers."""
    if isinstance(field.widget, AdminSplitDateTime):
        for part, widget in zip(("date", "time"), field.widget.widgets, strict=True):
            widget.attrs["aria-label"] = f"{label}: {part}"


class BoundedAdmin(BoundedActions):
    """Its lists never count or sort a whole table.

    The back office adds this base to every class registered with it.
    """

    # Whether the table stays so small that its list may be sorted by any column.
    is_small = False
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # would count the table for each choice

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Headed by what it lists; Django would say what one might do there."""
        title = capfirst(self.opts.verbose_name_plural)
        context = {"title": title, **(extra_context or {})}
        return super().changelist_view(request, context)

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """The usual one, with a label for each input."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field:
            label_parts(field, f"{capfirst(field.label)}")
        return field

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that sorts only by what is offered."""
        return SortedByIndex

    def get_sortable_by(self, request: HttpRequest) -> Any:
        """All columns of a small table; of others, those that an index serves."""
        if self.is_small or self.sortable_by is not None:
            return super().get_sortable_by(request)
        columns = self.get_list_display(request)
        return [each for each in columns if self._is_indexed(each)]

    def _is_indexed(self, column: Any) -> bool:
        by = getattr(getattr(self, f"{column}", None), "admin_order_field", column)
        return is_indexed_alone(self.model, f"{by}".removeprefix("-"))


class ExactSearch(BoundedAdmin):
    """Finds rows by whole values, each by an index.

    Django's search compares in upper case, which reads the whole table. The search box
    is shown because of `search_fields`; what they name is up to `found_by`.
    """

    def found_by(self, term: str) -> Q:
        """The rows that a search for this text finds."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Each row once."""
        term = search_term.strip()
        return queryset.filter(self.found_by(term)) if term else queryset, False


_LARGEST_ID = 2**63 - 1


def ids_in(term: str) -> list[int]:
    """The id that a text is; none if it is not one."""
    is_id = term.isdecimal() and len(term) < 20 and int(term) <= _LARGEST_ID
    return [int(term)] if is_id else []


class ReadOnlyAdmin(BoundedAdmin):
    """For evidence: read, never changed; there may be millions of rows."""

    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: object | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: object | None = None
    ) -> bool:
        return False
