"""What happened to a message: its delivery attempts, in order."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from routing.api.conventions.router import ID
from routing.api.conventions.serializers import ApiModelSerializer
from routing.api.decisions import DecisionSerializer
from routing.models import MessageDeliveryAttempt


class AttemptSerializer(ApiModelSerializer):
    """One attempt to send a message by a provider, and its result."""

    decision = DecisionSerializer(read_only=True)

    class Meta:
        model = MessageDeliveryAttempt
        fields = [
            "id",
            "message_id",
            "attempt_number",
            "channel",
            "provider",
            "attempted_at",
            "outcome",
            "external_message_id",
            "error_class",
            "error_code",
            "error_message",
            "cost",
            "currency",
            "response_time_ms",
            "fallback_reason",
            "is_late",
            "decision",
        ]
        read_only_fields = fields


class AttemptViewSet(GenericViewSet[MessageDeliveryAttempt]):
    """Append-only: a recorded attempt is never changed."""

    required_scope = "read"
    owner_lookup = "message__owner_id"
    queryset = MessageDeliveryAttempt.objects.all()
    serializer_class = AttemptSerializer
    pagination_class = None  # retries are few
    lookup_url_kwarg = "messageId"
    lookup_value_regex = ID

    @extend_schema(
        summary="The delivery attempts of a message, in order",
        responses=AttemptSerializer(many=True),
    )
    def retrieve(self, request: Request, **path: Any) -> Response:
        message_id = path["messageId"]
        attempts = self.filter_queryset(self.get_queryset())
        found = self.get_serializer(attempts.filter(message=message_id), many=True).data
        owner_id = getattr(request.auth, "bound_to", None)
        if not found and not _is_message(message_id, owner_id):
            raise Http404(f"There is no message {message_id}.")
        return Response(found)


def _is_message(message_id: str, owner_id: int | None) -> bool:
    """Whether the caller may see such a message. Its model belongs to the app above,
    and is known here only by the foreign key.
    """
    message = MessageDeliveryAttempt.message.field.related_model
    found = message._default_manager.filter(pk=message_id)
    if owner_id is not None:
        found = found.filter(owner_id=owner_id)
    return bool(found.exists())
