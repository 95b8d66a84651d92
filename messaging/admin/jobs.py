"""Bulk jobs: the page that asks before many messages are acted on, and the jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import BigIntegerField, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from messaging.jobs import Asked, NothingChosen, ask_for, eligible, stop, work_through
from messaging.models import BulkJob, CampaignMessage, CampaignMessageQuerySet
from messaging.vocabulary import BulkAct, JobState
from routing.admin.bases import ReadOnlyAdmin, clipped
from routing.text.quantities import quantity
from routing.vocabulary import ErrorClass, MessageStatus

LARGEST_ID = BigIntegerField.MAX_BIGINT
AT_ONCE = 200  # messages that a request may work through by itself
REFRESH_EVERY = 3  # seconds, of the page of a job under way


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an act does, for the page that asks."""

    title: str
    means: str


MEANINGS = {
    BulkAct.RETRY: Meaning(
        "Retry",
        "Messages that certainly failed are queued again, with a full set of their "
        "route's retries. Those that were or may have been sent are left alone.",
    ),
    BulkAct.CANCEL: Meaning(
        "Cancel",
        "Queued messages are withdrawn for good. Those that a provider has or may have "
        "are left alone.",
    ),
    BulkAct.SEND_AGAIN: Meaning(
        "Send again",
        "Nobody knows whether these were sent. A message that is sent again may arrive "
        "twice. If the first copy turns out to have arrived, it is marked as a "
        "possible duplicate.",
    ),
    BulkAct.GIVE_UP: Meaning(
        "Give up",
        "Nobody knows whether these were sent. A message that is given up fails. A "
        "receipt that comes later still settles it.",
    ),
}


class ReasonForm(forms.Form):
    """Why it is done."""

    reason = forms.CharField(
        max_length=300,
        help_text="For your colleagues: it is kept with the job and its messages.",
        widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True}),
    )


class ChosenForm(forms.Form):
    """The messages that a link names: one, those of a campaign, or those that failed or
    bounced `since` a time, for a reason.
    """

    act = forms.TypedChoiceField(choices=BulkAct.choices, coerce=int)
    message = forms.IntegerField(required=False, min_value=1, max_value=LARGEST_ID)
    campaign = forms.IntegerField(required=False)
    status = forms.TypedChoiceField(
        choices=MessageStatus.choices, coerce=int, required=False, empty_value=None
    )
    provider = forms.CharField(required=False, max_length=100)
    error = forms.TypedChoiceField(
        choices=ErrorClass.choices, coerce=int, required=False, empty_value=None
    )
    code = forms.CharField(required=False, max_length=100)
    since = forms.DateTimeField(required=False)

    def clean(self) -> dict[str, Any]:
        """It must choose something that an index finds."""
        cleaned = self.cleaned_data
        if not any(cleaned.get(name) for name in ("message", "campaign", "since")):
            raise forms.ValidationError("Name a message, a campaign, or a time.")
        return cleaned

    def messages(self) -> CampaignMessageQuerySet:
        """The messages."""
        asked, chosen = self.cleaned_data, CampaignMessage.objects.all()
        if asked["message"]:
            chosen = chosen.filter(pk=asked["message"])
        if asked["campaign"]:
            chosen = chosen.filter(campaign=asked["campaign"])
        if asked["since"]:
            chosen = chosen.lost(since=asked["since"])
        for name in ("status", "provider"):
            if asked[name] not in (None, ""):
                chosen = chosen.filter(**{name: asked[name]})
        if asked["error"] is not None:
            error = {"error_class": asked["error"]}
            if "code" in self.data:  # it may be blank
                error["error_code"] = asked["code"]
            chosen = chosen.ended_by_error(**error)
        return chosen

    def in_words(self) -> str:
        """What was asked for."""
        given = {name: self[name].value() for name in self.fields if name != "act"}
        shown = {name: value for name, value in given.items() if value}
        for name, terms in (("status", MessageStatus), ("error", ErrorClass)):
            if name in shown:
                shown[name] = terms(int(shown[name])).label
        return ", ".join(f"{name} {value}" for name, value in shown.items())


def act_address(act: BulkAct, **chosen: Any) -> str:
    """The page that asks before an act on the chosen messages: see `ChosenForm`."""
    given = {name: value for name, value in chosen.items() if value is not None}
    query = urlencode({"act": act.value, **given})
    return f"{reverse('admin:messaging_bulkjob_ask')}?{query}"


def buttons(message: CampaignMessage) -> list[tuple[str, str]]:
    """What may be done with a message as it stands: labels, and pages that ask."""
    this_one = CampaignMessage.objects.filter(pk=message.pk)
    # Whoever settles an unknown outcome has to take its risk knowingly.
    acts = [
        act
        for act in BulkAct
        if not (act is BulkAct.RETRY and message.is_outcome_unknown)
    ]
    return [
        (MEANINGS[act].title, act_address(act, message=message.pk))
        for act in acts
        if eligible(act, this_one).exists()
    ]


def may_act(request: HttpRequest) -> bool:
    """Messages are evidence and never edited; acts on them are audited."""
    return bool(request.user.has_perm("messaging.change_campaignmessage"))


@admin.register(BulkJob)
class JobAdmin(ReadOnlyAdmin):
    """Bulk jobs; a page of each with its progress."""

    list_display = ["id", "what", "by", "so_far", "standing", "asked_at"]
    list_filter = ["state", "act"]
    change_form_template = "admin/messaging/bulkjob/change_form.html"
    fields = (
        *("act", "chosen_by", "reason", "asked_by", "asked_at", "started_at"),
        "finished_at",
    )

    @admin.display(description="act")
    def what(self, job: BulkJob) -> str:
        """What is done, and why."""
        return clipped(f"{job.get_act_display()}: {job.reason}", 60)

    @admin.display(description="asked by")
    def by(self, job: BulkJob) -> str:
        """Who wants it."""
        return job.asked_by

    @admin.display(description="messages")
    def so_far(self, job: BulkJob) -> str:
        """How many it has come to, of how many."""
        return f"{job.seen:,} of {job.count:,}"

    @admin.display(description="state")
    def standing(self, job: BulkJob) -> str:
        """How far it is."""
        return job.get_state_display()

    def get_urls(self) -> list[Any]:
        """The usual ones, the page that asks, and one that stops a job."""
        site = self.admin_site
        return [
            path("ask/", site.admin_view(self.ask), name="messaging_bulkjob_ask"),
            path(
                "<int:pk>/stop/",
                site.admin_view(self.stop),
                name="messaging_bulkjob_stop",
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """Add the progress."""
        job = (
            BulkJob.objects.filter(pk=object_id).first()
            if object_id.isdecimal()
            else None
        )
        context = {
            "job": job,
            "level": _level(job) if job else "",
            "may_act": may_act(request),
            "refresh_every": REFRESH_EVERY,
        }
        return super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )

    def ask(self, request: HttpRequest) -> HttpResponse:
        """Ask before an act on the messages that a link names."""
        if not may_act(request):
            raise PermissionDenied
        chosen = ChosenForm(request.GET)
        if not chosen.is_valid():
            raise Http404(chosen.errors.as_text())
        act = BulkAct(chosen.cleaned_data["act"])
        return ask(request, act, chosen.messages(), chosen_by=chosen.in_words())

    def stop(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Stop a job: what it has done stays."""
        if not may_act(request):
            raise PermissionDenied
        job = BulkJob.objects.filter(pk=pk).first()
        if job is None:
            raise Http404("There is no such job.")
        if request.method == "POST":
            reason = request.POST.get("reason", "").strip() or "no reason was given"
            if not stop(job, reason=reason, now=timezone.now()):
                messages.warning(request, "It was over already.")
        return redirect("admin:messaging_bulkjob_change", pk)


def ask(
    request: HttpRequest,
    act: BulkAct,
    chosen: CampaignMessageQuerySet,
    *,
    chosen_by: str,
    hidden: list[tuple[str, str]] | None = None,
) -> HttpResponse:
    """Ask for a reason, showing the true count; then make it a job, and show that.

    If the count has changed since, it asks again. `hidden`: what must be posted again,
    such as the rows that were ticked.
    """
    form = ReasonForm(request.POST if "reason" in request.POST else None)
    total = chosen.order_by().count()
    able = eligible(act, chosen).order_by().count()
    has_changed = form.is_bound and request.POST.get("confirmed") != str(able)
    if form.is_valid() and not has_changed:
        return _start(request, act, chosen, form.cleaned_data["reason"], chosen_by)
    meaning = MEANINGS[act]
    context = {
        **admin.site.each_context(request),
        "title": f"{meaning.title}: {quantity(able, 'message')}",
        "opts": CampaignMessage._meta,
        "meaning": meaning,
        "form": form,
        "total": total,
        "able": able,
        "left": total - able,
        "has_changed": has_changed,
        "chosen_by": chosen_by,
        "hidden": hidden or [],
    }
    return TemplateResponse(request, "admin/messaging/bulkjob/ask.html", context)


def _start(
    request: HttpRequest,
    act: BulkAct,
    chosen: QuerySet[CampaignMessage],
    reason: str,
    chosen_by: str,
) -> HttpResponse:
    user = request.user
    asked = Asked(user.get_username(), reason, chosen_by, user)  # type: ignore[arg-type]
    try:
        job = ask_for(act, chosen, asked, now=timezone.now())  # type: ignore[arg-type]
    except NothingChosen as nothing:
        messages.warning(request, f"Nothing was done: {nothing}")
        return redirect("admin:messaging_campaignmessage_changelist")
    if job.count <= AT_ONCE:
        work_through(job, now=timezone.now())
    return redirect("admin:messaging_bulkjob_change", job.pk)


def _level(job: BulkJob) -> str:
    match JobState(job.state):
        case JobState.WAITING | JobState.RUNNING:
            return "wait"
        case JobState.FINISHED:
            return "warn" if job.left_alone else "ok"
        case JobState.STOPPED:
            return "warn"
    return "fail"
