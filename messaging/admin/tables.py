"""Lists and pages of campaigns, and of what happened to each message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Q, QuerySet, TimeField
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from messaging.addresses import AddressError, address_in
from messaging.admin.campaign_acts import act_on_campaign, campaign_buttons
from messaging.admin.jobs import ask, buttons, may_act
from messaging.campaign_progress import CampaignProgress, progress_of
from messaging.campaigns import (
    cancel_campaigns,
    pause_campaigns,
    resume_campaigns,
)
from messaging.models import (
    Campaign,
    CampaignMessage,
    CampaignQuerySet,
    Suppression,
    WorkerHeartbeat,
)
from messaging.progress_bar import describe
from messaging.queue_status import Outages
from messaging.single_messages import HIGHEST_OF_CAMPAIGNS
from messaging.standing import Standing, described
from messaging.timeline import TimelineEntry, acts_of_jobs, timeline_of
from messaging.vocabulary import BulkAct, CampaignStatus
from routing.admin.bases import (
    BoundedActions,
    ExactSearch,
    ProviderFilter,
    ReadOnlyAdmin,
    RecentFilter,
    bulleted,
    clipped,
    ids_in,
)
from routing.admin.evidence import ids_of_messages
from routing.models import InboundMessage
from routing.text.quantities import quantity
from routing.text.recipient_keys import address_key, address_spellings
from routing.text.untrusted import escaped
from routing.vocabulary import CampaignKind, ErrorClass

PROGRESS = "_progress"  # on a campaign whose page is shown
# Of campaigns without failures.
LEVELS = {
    CampaignStatus.RUNNING: "wait",
    CampaignStatus.PAUSED: "warn",
    CampaignStatus.COMPLETED: "ok",
}


class LaneFilter(admin.SimpleListFilter):
    """Campaigns by default, or the lanes of single messages."""

    title, parameter_name = "lane", "standing"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The one choice besides the default."""
        return [("1", "Lanes of single messages")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Name the default "Campaigns", not "All"."""
        first, *others = super().choices(changelist)
        return iter([{**first, "display": "Campaigns"}, *others])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Campaigns or lanes, never both."""
        return queryset.filter(is_standing=bool(self.value()))


class CampaignForm(forms.ModelForm):  # type: ignore[type-arg]
    """Refuses a priority that would put a campaign before transactional messages."""

    def clean_priority(self) -> int:
        """Lanes of single messages have priorities of their own."""
        priority: int = self.cleaned_data["priority"]
        if priority > HIGHEST_OF_CAMPAIGNS and not self.instance.is_standing:
            raise forms.ValidationError(
                f"A campaign's priority is from 0 to {HIGHEST_OF_CAMPAIGNS}, because "
                "single transactional messages go before all campaigns."
            )
        return priority


def _progress(campaign: Campaign) -> CampaignProgress:
    """How far it is, counted once per page: it may have a million messages."""
    kept: dict[str, Any] = vars(campaign)
    if PROGRESS not in kept:
        kept[PROGRESS] = progress_of([campaign.pk])
    found: CampaignProgress = kept[PROGRESS]
    return found


@admin.register(Campaign)
class CampaignAdmin(BoundedActions):
    """A campaign's content is read-only; priority, expiry and quiet hours are not."""

    list_display = [
        "title",
        "channel",
        "kind",
        "status",
        "priority",
        "size",
        "scheduled_at",
        "completed_at",
    ]
    list_filter = [LaneFilter, "channel", "status"]
    search_fields = ["name"]
    date_hierarchy = "created_at"
    form = CampaignForm
    change_form_template = "admin/messaging/campaign/change_form.html"
    actions = ["pause", "resume", "cancel"]
    # Django's own widget shows the offset from server time and a "Now" button; quiet
    # hours go by the recipients' clocks.
    formfield_overrides = {
        TimeField: {"widget": forms.TimeInput({"type": "time"}, format="%H:%M")}
    }
    fields = (
        "name",
        "channel",
        "kind",
        "stands",
        "progress",
        "priority",
        "subject",
        "body",
        "attached",
        "scheduled_at",
        "expires_at",
        "quiet_from",
        "quiet_until",
        "created_at",
        "launched_at",
        "completed_at",
    )
    readonly_fields = (
        "channel",
        "kind",
        "stands",
        "progress",
        "subject",
        "body",
        "attached",
        "scheduled_at",
        "created_at",
        "launched_at",
        "completed_at",
    )

    def get_readonly_fields(
        self, request: HttpRequest, obj: Campaign | None = None
    ) -> tuple[str, ...]:
        """Only marketing campaigns have quiet hours of their own."""
        may_have = obj and obj.kind == CampaignKind.MARKETING and not obj.is_standing
        fields = self.readonly_fields
        return fields if may_have else (*fields, "quiet_from", "quiet_until")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # campaigns come from send_campaign, which checks and loads them

    def has_delete_permission(
        self, request: HttpRequest, obj: Campaign | None = None
    ) -> bool:
        return False  # its messages are evidence

    def get_urls(self) -> list[Any]:
        """The usual ones, and pages that ask before an act."""
        view = self.admin_site.admin_view(act_on_campaign)
        return [
            path("<int:pk>/act/<str:act>/", view, name="messaging_campaign_act"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what may be done."""
        if campaign := context.get("original"):
            found = campaign_buttons(request, campaign, _progress(campaign))
            context["buttons"] = found
        page: HttpResponse = super().render_change_form(
            request, context, *args, **kwargs
        )
        return page

    @admin.display(description="media")
    def attached(self, campaign: Campaign) -> str:
        """The addresses of its media."""
        return bulleted(campaign.media_urls or [])

    @admin.display(description="name")
    def title(self, campaign: Campaign) -> str:
        """The name, clipped to fit."""
        return clipped(campaign.name, 60)

    @admin.display(description="messages")
    def size(self, campaign: Campaign) -> str:
        """The number of messages it was created with, if recorded."""
        count = campaign.message_count
        return "" if count is None else f"{count:,}"

    @admin.display(description="messages")
    def progress(self, campaign: Campaign) -> str:
        """Messages per status, in words, with a link to them."""
        return format_html(
            '<a href="{}?campaign__id__exact={}">{}</a>',
            reverse("admin:messaging_campaignmessage_changelist"),
            campaign.pk,
            describe(_progress(campaign)) or "none",
        )

    @admin.display(description="status")
    def stands(self, campaign: Campaign) -> str:
        """The status, with what went wrong meanwhile."""
        lost = _progress(campaign).lost
        level = "fail" if lost else LEVELS.get(CampaignStatus(campaign.status), "quiet")
        status = campaign.get_status_display()
        text = f"{status}, {lost:,} failed" if lost else status
        return pill(Standing(level, text))

    @admin.action(
        permissions=["change"], description="Pause: hold back messages not sent yet"
    )
    def pause(self, request: HttpRequest, queryset: CampaignQuerySet) -> None:
        chosen = queryset.count()
        self._report(request, pause_campaigns(queryset), chosen, "paused")

    @admin.action(permissions=["change"], description="Resume: continue sending")
    def resume(self, request: HttpRequest, queryset: CampaignQuerySet) -> None:
        chosen = queryset.count()
        self._report(request, resume_campaigns(queryset), chosen, "resumed")

    @admin.action(
        permissions=["change"],
        description="Cancel: permanently withdraw messages not sent yet",
    )
    def cancel(self, request: HttpRequest, queryset: CampaignQuerySet) -> None:
        chosen = queryset.count()
        done = cancel_campaigns(queryset, now=timezone.now())
        counts = f"({done.withdrawn} withdrawn, {done.in_flight} in flight)"
        self._report(request, done.campaigns, chosen, f"cancelled {counts}")

    def _report(self, request: HttpRequest, count: int, chosen: int, done: str) -> None:
        left = chosen - count
        why = f" {left} not: the status does not allow it." if left > 0 else ""
        text = f"{quantity(count, 'campaign')} {done}.{why}"
        self.message_user(request, text, _level(count))


def _level(count: int) -> int:
    """Success, or a warning if nothing was done."""
    return messages.SUCCESS if count else messages.WARNING


class OutcomeFilter(admin.SimpleListFilter):
    """Messages that may need attention, whatever their status."""

    title, parameter_name = "outcome", "outcome"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """Only what the status filter cannot select."""
        return [
            ("unknown", "Unknown: may or may not have been sent"),
            ("quarantined", "Quarantined: they made workers fail"),
            ("double", "Possible duplicate: two attempts may have got through"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The chosen messages, or all."""
        match self.value():
            case "unknown":
                return queryset.exclude(unknown_since=None)
            case "quarantined":
                return queryset.quarantined()  # type: ignore[attr-defined,no-any-return]
            case "double":
                return queryset.possible_duplicates()  # type: ignore[attr-defined,no-any-return]
        return queryset


def addresses_in(term: str) -> set[str]:
    """All forms in which the address of a person's text may be stored.

    A number's "+" may be missing, or written as 00.
    """
    digits = re.sub(r"[\s()./-]", "", term).removeprefix("00")
    for text in (term, f"+{digits}"):
        with suppress(AddressError):
            return address_spellings(address_in(text))
    return {term}


# What else people did to a message: filled by the audit log, which is a layer above.
OtherActs = Callable[[CampaignMessage], list[TimelineEntry]]
other_acts: list[OtherActs] = []


def _shown(request: HttpRequest, message: CampaignMessage) -> dict[str, Any]:
    """What the page of a message shows above its fields."""
    now = timezone.now()
    outages = Outages(now=now)
    acts = [*acts_of_jobs(message.pk), *chain(*(each(message) for each in other_acts))]
    sentence = described(message, outages.reason_for(message), now=now)
    return {
        "standing": outages.standing(message),
        "sentence": escaped(sentence),
        "buttons": buttons(message) if may_act(request) else [],
        "timeline": timeline_of(message, acts),
    }


class CreatedFilter(RecentFilter):
    """By how long ago they were created."""

    title, of = "created", "created_at"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those within the chosen span, or all."""
        if (chosen := self.value()) not in self.SPANS:
            return queryset
        _, span = self.SPANS[chosen]
        since = timezone.now() - span
        return queryset.created_since(since)  # type: ignore[attr-defined,no-any-return]


class ErrorFilter(admin.SimpleListFilter):
    """Those that failed or bounced lately, by what kind of error ended them."""

    title, parameter_name = "error of the last 7 days", "error"
    SPAN = timedelta(days=7)

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The classes of errors."""
        return [(f"{each.value}", each.label) for each in ErrorClass]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those with the chosen error, or all."""
        chosen = self.value()
        if chosen not in {f"{each.value}" for each in ErrorClass}:
            return queryset
        lost = queryset.lost(since=timezone.now() - self.SPAN)  # type: ignore[attr-defined]
        return lost.ended_by_error(error_class=int(chosen))  # type: ignore[no-any-return]


class CampaignFilter(admin.SimpleListFilter):
    """By campaign: the latest ones, and the chosen one."""

    title, parameter_name = "campaign", "campaign__id__exact"
    SHOWN = 10

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """Ids and names. It is asked before the value is known."""
        latest = Campaign.objects.visible().order_by("-pk")
        rows = dict(latest.values_list("pk", "name")[: self.SHOWN])
        for pk in ids_in(request.GET.get(self.parameter_name, "")):
            chosen = Campaign.objects.filter(pk=pk)
            rows |= dict(chosen.values_list("pk", "name"))
        return [(f"{pk}", Truncator(name).chars(40)) for pk, name in rows.items()]

    def has_output(self) -> bool:
        return True  # a link may name any campaign

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Its messages, or all."""
        chosen = self.value()
        return queryset.filter(campaign__in=ids_in(chosen)) if chosen else queryset


def pill(stands: Standing, *, title: str = "") -> str:
    """A standing as a pill."""
    return format_html(
        '<span class="pill pill-{}" title="{}">{}</span>',
        *(stands.level, title, stands.text),
    )


def _filters(request: HttpRequest) -> str:
    """The filters of a list, for the record; without what was searched for, which may
    be a person's number.
    """
    filters = request.GET.copy()
    is_search = bool(filters.pop(SEARCH_VAR, None))
    said = [filters.urlencode(), "a search" if is_search else ""]
    return ", ".join(filter(None, said)) or "no filter"


@admin.register(CampaignMessage)
class MessageAdmin(ExactSearch, ReadOnlyAdmin):
    """One message, with a timeline of everything that happened to it."""

    class Media:
        css: ClassVar = {"all": ["back_office/messages.css"]}

    change_form_template = "admin/messaging/campaignmessage/change_form.html"
    list_display = [
        "id",
        "to",
        "campaign_name",
        "stands",
        "provider",
        "due",
    ]
    list_filter = [
        CreatedFilter,
        "status",
        OutcomeFilter,
        ErrorFilter,
        "channel",
        ProviderFilter,
        CampaignFilter,
    ]
    search_fields = ["id", "recipient"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "campaign",
                    "channel",
                    "recipient",
                    "status",
                    "reason",
                    "provider",
                    "due_at",
                ]
            },
        ),
        (
            "Content",
            {
                "classes": ["collapse"],
                "fields": ["subject", "body", "attached", "segments", "country"],
            },
        ),
        (
            "Place in the queue",
            {
                "classes": ["collapse"],
                "fields": [
                    "occurrence",
                    "attempt_count",
                    "retry_count",
                    "lease_owner",
                    "lease_expires_at",
                    "unknown_since",
                    "quarantined_at",
                    "double_risk_at",
                    "created_at",
                    "expires_at",
                    "sent_at",
                    "finished_at",
                ],
            },
        ),
    ]
    readonly_fields = ["reason", "attached"]
    search_help_text = (
        "A number in any spelling, an e-mail address, a message's id, or the "
        "provider's id for it: in full"
    )
    list_select_related = ["campaign"]
    actions = ["cancel", "retry", "send_again", "give_up"]
    # They ask first, and become jobs of the workers.
    unbounded_actions = frozenset({"cancel", "retry", "send_again", "give_up"})

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list; outages are read once for all its rows."""
        self._outages = Outages(now=timezone.now())
        page: HttpResponse = super().changelist_view(request, extra_context)
        return page

    def found_by(self, term: str) -> Q:
        """Those to a recipient, or with an id: ours or the provider's."""
        return Q(recipient__in=addresses_in(term)) | Q(pk__in=ids_of_messages(term))

    @admin.display(description="media")
    def attached(self, message: CampaignMessage) -> str:
        """The addresses of media of its own; its campaign has others."""
        return bulleted(message.media_urls or [])

    @admin.display(description="to", ordering="recipient")
    def to(self, message: CampaignMessage) -> str:
        """The recipient."""
        return clipped(message.recipient, 40)

    @admin.display(description="campaign")
    def campaign_name(self, message: CampaignMessage) -> str:
        """The name of its campaign."""
        return clipped(message.campaign.name, 40)

    @admin.display(description="status")
    def stands(self, message: CampaignMessage) -> str:
        """How it stands, in a few words; the reason in full as a tooltip."""
        why = escaped(self._outages.reason_for(message))
        return pill(self._outages.standing(message), title=why)

    @admin.display(description="status reason")
    def reason(self, message: CampaignMessage) -> str:
        """The same in full."""
        return escaped(Outages(now=timezone.now()).reason_for(message)) or "-"

    @admin.display(description="due")
    def due(self, message: CampaignMessage) -> str:
        """When it may leave, or could have left; to the minute."""
        return f"{timezone.localtime(message.due_at):%Y-%m-%d %H:%M}"

    def has_intervene_permission(self, request: HttpRequest) -> bool:
        """Who may act on messages."""
        return may_act(request)

    @admin.action(
        permissions=["intervene"],
        description="Cancel queued messages",
    )
    def cancel(
        self, request: HttpRequest, queryset: QuerySet[CampaignMessage]
    ) -> HttpResponse | None:
        return self._ask(request, queryset, BulkAct.CANCEL)

    @admin.action(
        permissions=["intervene"],
        description="Retry: resend messages that certainly failed",
    )
    def retry(
        self, request: HttpRequest, queryset: QuerySet[CampaignMessage]
    ) -> HttpResponse | None:
        return self._ask(request, queryset, BulkAct.RETRY)

    @admin.action(
        permissions=["intervene"],
        description="Send again: messages of unknown outcome, which may arrive twice",
    )
    def send_again(
        self, request: HttpRequest, queryset: QuerySet[CampaignMessage]
    ) -> HttpResponse | None:
        return self._ask(request, queryset, BulkAct.SEND_AGAIN)

    @admin.action(
        permissions=["intervene"],
        description="Give up: messages of unknown outcome",
    )
    def give_up(
        self, request: HttpRequest, queryset: QuerySet[CampaignMessage]
    ) -> HttpResponse | None:
        return self._ask(request, queryset, BulkAct.GIVE_UP)

    def _ask(
        self, request: HttpRequest, queryset: Any, act: BulkAct
    ) -> HttpResponse | None:
        """Ask for a reason; the rows that were ticked are posted again."""
        hidden = [
            (name, value)
            for name in ("action", "select_across", "_selected_action")
            for value in request.POST.getlist(name)
        ]
        is_all = request.POST.get("select_across", "0") != "0"
        chosen_by = f"all in the list ({_filters(request)})"
        chosen_by = chosen_by if is_all else "ticked in the list"
        return ask(request, act, queryset, chosen_by=chosen_by, hidden=hidden)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """Add how it stands, what may be done, and the timeline. `get_object` returns
        None for an id that is not valid.
        """
        message = self.get_object(request, unquote(object_id))
        shown = _shown(request, message) if message else {}
        context = {**shown, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)


@admin.register(Suppression)
class SuppressionAdmin(ExactSearch):
    list_display = ["address", "reason", "scope", "source", "created_at"]
    list_filter = ["reason", "scope", "source"]
    search_fields = ["address"]
    search_help_text = "An address in full, in any spelling"
    readonly_fields = ["created_at"]

    def formfield_for_choice_field(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Make the scope optional: without one, an entry holds back everything."""
        if db_field.name == "scope":
            kwargs["required"] = False
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def found_by(self, term: str) -> Q:
        """By the key under which addresses are suppressed."""
        return Q(address__in={address_key(each) for each in addresses_in(term)})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """Show the address as the heading: `__str__` leaves it out, because of logs."""
        row = self.get_object(request, unquote(object_id))
        context = {"subtitle": row.address if row else None, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)


@admin.register(InboundMessage)
class InboundMessageAdmin(ExactSearch, ReadOnlyAdmin):
    """Texts received from handsets, with the keyword that each was read as."""

    list_display = [
        "received_at",
        "sender",
        "recipient",
        "wrote",
        "keyword",
        "provider",
    ]
    list_filter = ["keyword", ProviderFilter]
    search_fields = ["sender"]
    search_help_text = "A sender's number in full, in any spelling"

    def found_by(self, term: str) -> Q:
        """Those from a number."""
        return Q(sender__in=addresses_in(term))

    @admin.display(description="text")
    def wrote(self, inbound: InboundMessage) -> str:
        """The beginning of the text."""
        return clipped(inbound.text, 38)


@admin.register(WorkerHeartbeat)
class WorkerAdmin(ReadOnlyAdmin):
    is_small = True
    list_display = [
        "kind",
        "on",
        "pid",
        "started_at",
        "beat_at",
        "in_flight",
        "skew",
    ]
    list_filter = ["kind"]
    fields = (
        *("kind", "host", "pid", "started_at", "beat_at", "in_flight", "skew"),
        "trouble",
    )

    @admin.display(description="host", ordering="host")
    def on(self, worker: WorkerHeartbeat) -> str:
        """Where it runs."""
        return clipped(worker.host, 30)

    @admin.display(description="clock", ordering="clock_skew")
    def skew(self, worker: WorkerHeartbeat) -> str:
        """How far its host's clock is ahead of the database's."""
        return f"{worker.clock_skew.total_seconds():+z.1f} s"
