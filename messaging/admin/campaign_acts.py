"""What can be done with one campaign: pages that ask first, with the true count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from messaging.admin.jobs import ReasonForm, act_address, may_act
from messaging.campaign_progress import CampaignProgress
from messaging.campaigns import (
    cancel_campaigns,
    pause_campaigns,
    resume_campaigns,
)
from messaging.models import Campaign, CampaignQuerySet
from messaging.vocabulary import BulkAct, CampaignStatus
from routing.text.quantities import quantity

PERMISSION = "messaging.change_campaign"


@dataclass(frozen=True, slots=True)
class Act:
    """A button: what becomes of messages not sent yet, and from which statuses."""

    label: str
    means: str
    do: Callable[[CampaignQuerySet, str], str]  # returns what was done
    of: tuple[CampaignStatus, ...]


def _pause(campaigns: CampaignQuerySet, reason: str) -> str:
    return "Paused." if pause_campaigns(campaigns, reason=reason) else ""


def _resume(campaigns: CampaignQuerySet, reason: str) -> str:
    return "Resumed." if resume_campaigns(campaigns, reason=reason) else ""


def _cancel(campaigns: CampaignQuerySet, reason: str) -> str:
    done = cancel_campaigns(campaigns, reason=reason, now=timezone.now())
    if not done.campaigns:
        return ""
    return f"Cancelled: {done.withdrawn:,} withdrawn, {done.in_flight:,} in flight."


ACTS = {
    "pause": Act(
        "Pause",
        "Held back until it is resumed. What providers have already goes on.",
        _pause,
        (CampaignStatus.RUNNING,),
    ),
    "resume": Act(
        "Resume",
        "Sent as they fall due.",
        _resume,
        (CampaignStatus.PAUSED,),
    ),
    "cancel": Act(
        "Cancel",
        "Withdrawn for good. What providers have already cannot be called back.",
        _cancel,
        (CampaignStatus.DRAFT, CampaignStatus.RUNNING, CampaignStatus.PAUSED),
    ),
}


def campaign_buttons(
    request: HttpRequest, campaign: Campaign, progress: CampaignProgress
) -> list[tuple[str, str]]:
    """What the user may do with it as it stands: labels, and pages that ask."""
    found = []
    if request.user.has_perm(PERMISSION) and not campaign.is_standing:
        found += [
            (
                act.label,
                reverse("admin:messaging_campaign_act", args=[campaign.pk, name]),
            )
            for name, act in ACTS.items()
            if campaign.status in act.of
        ]
    is_over = campaign.status == CampaignStatus.CANCELLED  # nothing of it leaves again
    if progress.lost and not is_over and may_act(request):
        since = campaign.created_at.isoformat()
        retry = act_address(BulkAct.RETRY, campaign=campaign.pk, since=since)
        found.append((f"Retry the {progress.lost:,} that failed", retry))
    return found


def act_on_campaign(request: HttpRequest, pk: int, act: str) -> HttpResponse:
    """Ask for a reason, with the number of messages that it is about; then act."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    campaign = Campaign.objects.filter(pk=pk, is_standing=False).first()
    if campaign is None or act not in ACTS:
        raise Http404
    form = ReasonForm(request.POST or None)
    if form.is_valid():
        this_one = Campaign.objects.filter(pk=pk)
        done = ACTS[act].do(this_one, form.cleaned_data["reason"])
        refusal = f"Nothing was done: it is {_status(pk).lower()} by now."
        messages.add_message(
            request, messages.SUCCESS if done else messages.WARNING, done or refusal
        )
        return redirect("admin:messaging_campaign_change", pk)
    waiting = campaign.messages.queued().count()
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": f"{ACTS[act].label}: {campaign.name}",
        "opts": Campaign._meta,
        "campaign": campaign,
        "act": ACTS[act],
        "waiting": quantity(waiting, "message"),
        "form": form,
    }
    return TemplateResponse(request, "admin/messaging/campaign/act.html", context)


def _status(pk: int) -> str:
    return Campaign.objects.get(pk=pk).get_status_display()
