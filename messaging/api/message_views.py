"""/api/messages: post, find, cancel, retry."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import (
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from messaging.api.conflicts import conflicts
from messaging.api.filters import MessageFilters, OrderedPages
from messaging.api.idempotency import IDEMPOTENCY_KEY, respond_once
from messaging.api.message_serializers import (
    MessageDetailSerializer,
    MessageListSerializer,
    MessageSerializer,
    PostedMessagesSerializer,
    RetrySerializer,
    SingleMessageSerializer,
    singles_in,
)
from messaging.message_actions import cancel_message, retry_message
from messaging.models import CampaignMessage
from messaging.single_messages import post_messages
from routing.api.conventions.router import ID


@extend_schema_view(
    list=extend_schema(summary="The messages, newest first"),
    retrieve=extend_schema(summary="One message, with its text and cost"),
)
class MessageViewSet(
    ListModelMixin, RetrieveModelMixin, GenericViewSet[CampaignMessage]
):
    """Messages: single ones, and those of campaigns."""

    required_scope = {
        "list": "read",
        "retrieve": "read",
        "create": "send",
        "cancel": "send",
        "retry": "send",
    }
    owner_lookup = "owner_id"
    queryset = CampaignMessage.objects.select_related("campaign")
    filterset_class = MessageFilters
    pagination_class = OrderedPages
    lookup_value_regex = ID

    def get_serializer_class(self) -> type[BaseSerializer[CampaignMessage]]:
        """Lists leave out the texts: e-mails may be long."""
        return MessageSerializer if self.action == "list" else MessageDetailSerializer

    @extend_schema(
        summary="Send one message, or up to 1,000",
        description='An object is one message. `{"messages": [...]}` is up to 1,000: '
        "if anything is wrong with one, none are accepted, and `errors` says what is "
        "wrong with each. A recipient who has opted out is not an error: the message "
        "ends as Suppressed.",
        parameters=[IDEMPOTENCY_KEY],
        request=PolymorphicProxySerializer(
            component_name="OneOrMoreMessages",
            serializers=[SingleMessageSerializer, MessageListSerializer],
            resource_type_field_name=None,
        ),
        responses={
            202: PolymorphicProxySerializer(
                component_name="OneOrMorePosted",
                serializers=[MessageSerializer, PostedMessagesSerializer],
                resource_type_field_name=None,
            )
        },
    )
    def create(self, request: Request) -> Response:
        """Queue messages; the response has their ids."""
        return respond_once(request, lambda: self._post(request))

    def _post(self, request: Request) -> Response:
        singles = singles_in(request.data)
        with conflicts():
            messages = post_messages(
                singles, now=timezone.now(), owner_id=request.user.pk
            )
        if "messages" in request.data:
            posted = PostedMessagesSerializer({"messages": messages}).data
            return Response(posted, status=202)
        location = reverse("message-detail", args=[messages[0].pk], request=request)
        posted = MessageSerializer(messages[0]).data
        return Response(posted, status=202, headers={"Location": location})

    @extend_schema(
        summary="Withdraw a queued message",
        request=None,
        responses=MessageDetailSerializer,
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """409 if it has left or is being sent."""
        message = self.get_object()
        with conflicts():
            cancel_message(message, now=timezone.now())
        return Response(self.get_serializer(message).data)

    @extend_schema(
        summary="Retry a message that certainly failed",
        request=RetrySerializer,
        responses=MessageDetailSerializer,
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """409 if it may have been sent: a retry never sends a message twice."""
        message = self.get_object()
        body = RetrySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        with conflicts():
            retry_message(message, now=timezone.now(), **body.validated_data)
        return Response(self.get_serializer(message).data)
