"""The providers, with buttons to pause, resume and probe them; and past pauses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from routing.admin.bases import (
    ProviderFilter,
    ReadOnlyAdmin,
    clipped,
    label_parts,
)
from routing.health.overview import Overview, overview, overviews
from routing.health.pauses import (
    ActRefused,
    Why,
    pause_provider,
    probe_provider,
    resume_provider,
)
from routing.models import ProviderPause
from routing.models.pauses import REASON_LENGTH
from routing.providers.registry import UnknownProvider
from routing.vocabulary import ProviderState

LEVELS = {
    ProviderState.IN_USE: "ok",
    ProviderState.OUT_OF_USE: "fail",
    ProviderState.TRIED_AGAIN: "warn",
    ProviderState.PAUSED: "warn",
    ProviderState.NOT_CONFIGURED: "",
}


class ReasonForm(forms.Form):
    """Why it is done."""

    reason = forms.CharField(
        max_length=REASON_LENGTH,
        help_text="For your colleagues: it is shown wherever this matters, and kept.",
        widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True}),
    )


class PauseForm(ReasonForm):
    """Why, and for how long."""

    since = forms.SplitDateTimeField(
        required=False, widget=AdminSplitDateTime(), help_text="Blank: now."
    )
    until = forms.SplitDateTimeField(
        required=False,
        widget=AdminSplitDateTime(),
        help_text="Blank: until a person resumes it.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            label_parts(field, name.capitalize())

    def clean(self) -> dict[str, Any]:
        """It must end after it begins, and not in the past."""
        cleaned = self.cleaned_data
        until, since = cleaned.get("until"), cleaned.get("since")
        if until and until <= max(since or until, timezone.now()):
            self.add_error("until", "It must end in the future, after it begins.")
        return cleaned


@dataclass(frozen=True, slots=True)
class Act:
    """A button: what it does, and what that means."""

    title: str
    means: str
    do: Callable[..., object]
    form: type[ReasonForm] = ReasonForm


ACTS = {
    "pause": Act(
        "Pause",
        "No message goes to it, and it is not tried. Other providers of its routes "
        "take the messages; where there is none, they wait and nothing fails. Calls "
        "under way end as usual.",
        pause_provider,
        PauseForm,
    ),
    "resume": Act(
        "Resume",
        "Messages go to it again within a second. If its pause has not begun, it is "
        "called off.",
        resume_provider,
    ),
    "probe": Act(
        "Try now",
        "The next message tries it, without waiting for the time that is set. If it "
        "accepts, it comes back into use in steps.",
        probe_provider,
    ),
}


@admin.register(ProviderPause)
class PauseAdmin(ReadOnlyAdmin):
    list_display = ["provider", "since", "until", "why", "by", "resumed"]
    list_filter = [ProviderFilter]
    change_list_template = "admin/routing/providerpause/change_list.html"

    @admin.display(description="reason")
    def why(self, pause: ProviderPause) -> str:
        """Why it was paused."""
        return clipped(pause.reason, 60)

    @admin.display(description="resumed", ordering="resumed_at")
    def resumed(self, pause: ProviderPause) -> str:
        """When, by whom and why it was ended or called off."""
        if pause.resumed_at is None:
            return ""
        at = f"{timezone.localtime(pause.resumed_at):%Y-%m-%d %H:%M:%S}"
        return clipped(f"{at} by {pause.resumed_by}: {pause.resume_reason}", 80)

    def get_urls(self) -> list[Any]:
        """The usual ones, the providers, and what is done to them."""
        site = self.admin_site
        return [
            path(
                "providers/", site.admin_view(self.providers), name="routing_providers"
            ),
            path(
                "providers/<str:name>/<str:act>/",
                site.admin_view(self.act),
                name="routing_provider_act",
            ),
            *super().get_urls(),
        ]

    def providers(self, request: HttpRequest) -> TemplateResponse:
        """All providers: how they are set up, and whether messages go to them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Providers",
            "opts": self.opts,
            "rows": [_row(each) for each in overviews(now=timezone.now())],
            "may_act": _may_act(request),
        }
        template = "admin/routing/providerpause/providers.html"
        return TemplateResponse(request, template, context)

    def act(self, request: HttpRequest, name: str, act: str) -> HttpResponse:
        """Ask for a reason; then pause, resume or probe."""
        if not _may_act(request):
            raise PermissionDenied
        if act not in ACTS:
            raise Http404
        now = timezone.now()
        try:
            provider = overview(name, now=now)
        except UnknownProvider as error:
            raise Http404(str(error)) from None
        form = ACTS[act].form(request.POST or None)
        if request.method == "POST" and form.is_valid():
            self._do(request, act, name, form.cleaned_data, now)
            return redirect(_way_back(request))
        context = {
            **self.admin_site.each_context(request),
            "title": f"{ACTS[act].title}: {name}",
            "opts": self.opts,
            "media": self.media + form.media,
            "row": _row(provider),
            "act": ACTS[act],
            "form": form,
            "way_back": _way_back(request),
        }
        template = "admin/routing/providerpause/act.html"
        return TemplateResponse(request, template, context)

    def _do(
        self,
        request: HttpRequest,
        act: str,
        name: str,
        asked: dict[str, Any],
        now: datetime,
    ) -> None:
        times = {each: asked[each] for each in ("since", "until") if each in asked}
        why = Why(request.user.get_username(), asked["reason"], now)
        try:
            ACTS[act].do(name, why, **times)
        except ActRefused as refusal:
            self.message_user(request, f"Nothing was done: {refusal}", messages.WARNING)
            return
        text = f"{name} is now: {overview(name, now=now).in_words}."
        self.message_user(request, text, messages.SUCCESS)


def _way_back(request: HttpRequest) -> str:
    """The page that it was asked for on."""
    is_front = request.GET.get("next") == "now"
    return reverse("admin:index" if is_front else "admin:routing_providers")


def _may_act(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("routing.pause_provider"))


def _row(provider: Overview) -> dict[str, Any]:
    """A provider, and how its state is coloured."""
    return {"provider": provider, "level": LEVELS[provider.state]}
