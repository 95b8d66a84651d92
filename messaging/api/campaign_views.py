"""/api/campaigns: create, launch, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from messaging.api.campaign_serializers import (
    AudienceSerializer,
    CampaignDetailSerializer,
    CampaignDraftSerializer,
    CampaignSerializer,
    RecipientListSerializer,
    WithdrawalSerializer,
)
from messaging.api.conflicts import conflicts
from messaging.api.filters import CampaignFilters, OrderedPages
from messaging.api.idempotency import IDEMPOTENCY_KEY, respond_once
from messaging.audience.recipients import Rejection
from messaging.campaigns import (
    WrongState,
    add_to_draft,
    cancel_campaigns,
    create_campaign,
    launch_campaign,
    pause_campaigns,
    resume_campaigns,
)
from messaging.models import Campaign, CampaignQuerySet
from routing.api.conventions.router import ID


@extend_schema_view(
    list=extend_schema(summary="The campaigns, newest first"),
    retrieve=extend_schema(summary="One campaign, with its progress"),
)
class CampaignViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet[Campaign]):
    """Campaigns, without the lanes of single messages."""

    required_scope = {
        "list": "read",
        "retrieve": "read",
        "create": "send",
        "recipients": "send",
        "launch": "send",
        "pause": "send",
        "resume": "send",
        "cancel": "send",
    }
    owner_lookup = "owner_id"
    queryset = Campaign.objects.visible()
    filterset_class = CampaignFilters
    pagination_class = OrderedPages
    lookup_value_regex = ID

    def get_serializer_class(self) -> type[BaseSerializer[Campaign]]:
        """Lists leave out the progress: counting reads every message."""
        return CampaignSerializer if self.action == "list" else CampaignDetailSerializer

    @extend_schema(
        summary="Create a campaign",
        parameters=[IDEMPOTENCY_KEY],
        request=CampaignDraftSerializer,
        responses={201: CampaignDetailSerializer},
    )
    def create(self, request: Request) -> Response:
        """Create a draft: add recipients, then launch it."""
        return respond_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        draft = CampaignDraftSerializer(data=request.data)
        draft.is_valid(raise_exception=True)
        with conflicts():
            campaign = create_campaign(
                draft.text(), now=timezone.now(), owner_id=request.user.pk
            )
        location = reverse("campaign-detail", args=[campaign.pk], request=request)
        body = self.get_serializer(campaign).data
        return Response(body, status=201, headers={"Location": location})

    @extend_schema(
        summary="Add up to 1,000 recipients to a draft",
        description="Recipients that cannot be used, or that the campaign already has, "
        "are rejected with a reason each; all others are accepted.",
        request=RecipientListSerializer,
        responses=AudienceSerializer,
    )
    @action(detail=True, methods=["post"])
    def recipients(self, request: Request, pk: str) -> Response:
        """Safe to repeat: no recipient is added twice."""
        campaign = self.get_object()
        body = RecipientListSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        rejected: list[Rejection] = []
        with conflicts():
            report = add_to_draft(
                campaign,
                body.rows(campaign),
                now=timezone.now(),
                on_rejected=rejected.append,
                reject_blank=body.validated_data["reject_blank"],
            )
        answer: dict[str, Any] = {"accepted": report.accepted, "rejected": rejected}
        if report.blanks:
            answer["blanks"] = report.blanks
        return Response(AudienceSerializer(answer).data)

    @extend_schema(
        summary="Launch a draft",
        request=None,
        responses=CampaignDetailSerializer,
    )
    @action(detail=True, methods=["post"])
    def launch(self, request: Request, pk: str) -> Response:
        """409 if it has no recipients, or no route that can send."""
        campaign = self.get_object()
        with conflicts():
            launch_campaign(campaign, now=timezone.now())
        return Response(self.get_serializer(campaign).data)

    @extend_schema(
        summary="Hold back messages not sent yet",
        request=None,
        responses=CampaignDetailSerializer,
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Pause a running campaign."""
        return self._change(pause_campaigns)

    @extend_schema(
        summary="Continue a paused campaign",
        request=None,
        responses=CampaignDetailSerializer,
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Resume a paused campaign."""
        return self._change(resume_campaigns)

    @extend_schema(
        summary="Permanently withdraw messages not sent yet",
        description="Once this has answered, queued messages are no longer sent; "
        "`inFlight` counts messages that a provider has or may have at that moment.",
        request=None,
        responses=WithdrawalSerializer,
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel a campaign that is not over."""
        campaign = self.get_object()
        done = cancel_campaigns(_only(campaign), now=timezone.now())
        campaign.refresh_from_db()
        if not done.campaigns:
            with conflicts():
                raise WrongState(campaign)
        answer = {"status": campaign.status} | asdict(done)
        return Response(WithdrawalSerializer(answer).data)

    def _change(self, change: Callable[[CampaignQuerySet], int]) -> Response:
        campaign = self.get_object()
        is_changed = change(_only(campaign))
        campaign.refresh_from_db()
        if not is_changed:
            with conflicts():
                raise WrongState(campaign)
        return Response(self.get_serializer(campaign).data)


def _only(campaign: Campaign) -> CampaignQuerySet:
    """The campaign as a query set, which the services take."""
    return Campaign.objects.filter(pk=campaign.pk)
