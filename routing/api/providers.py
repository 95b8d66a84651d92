"""Providers over REST: how they are, and pausing, resuming and probing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from routing.api.conventions.problems import Conflict
from routing.api.conventions.serializers import (
    ApiModelSerializer,
    ApiSerializer,
    TermField,
)
from routing.health.overview import overview, overviews
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
from routing.vocabulary import Channel, ProviderState

NAME = OpenApiParameter(
    "name",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    description="The provider's name in MESSAGE_PROVIDERS, such as TwilioSMS.",
)


class PauseSerializer(ApiModelSerializer):
    """A pause of a provider, in force or planned."""

    class Meta:
        model = ProviderPause
        fields = ["id", "since", "until", "reason", "by"]
        read_only_fields = fields


class ProviderSerializer(ApiSerializer):
    """A provider: how it is set up, and whether messages go to it."""

    name = serializers.CharField()
    channel = TermField(choices=Channel.choices())
    state = TermField(choices=ProviderState.choices())
    in_words = serializers.CharField(
        help_text="The state with its reason, and from when until when."
    )
    problem = serializers.CharField(
        help_text="What its configuration lacks; empty if nothing."
    )
    account = serializers.CharField(help_text="The account and the sender in use.")
    is_simulated = serializers.BooleanField(help_text="Its messages reach nobody.")
    sends_receipts = serializers.BooleanField()
    throttle = serializers.CharField(help_text="In words; `none` if it has no limit.")
    next_try_at = serializers.DateTimeField(
        source="breaker.open_until",
        allow_null=True,
        help_text="When a message next tries it, while it is out of use.",
    )
    pauses = PauseSerializer(many=True, help_text="In force and planned.")


class ReasonSerializer(ApiSerializer):
    """Why this is done."""

    reason = serializers.CharField(
        max_length=REASON_LENGTH, help_text="Kept, and part of the audit log."
    )


class PauseRequestSerializer(ReasonSerializer):
    """Why, and for how long."""

    since = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="By default, now."
    )
    until = serializers.DateTimeField(
        required=False,
        allow_null=True,
        default=None,
        help_text="By default, until it is resumed.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """It must end after it begins, and not in the past."""
        until = attrs["until"]
        if until and until <= max(attrs["since"] or until, timezone.now()):
            text = "This must be in the future, and after `since`."
            raise ValidationError({"until": text}, "too_early")
        return attrs


@contextmanager
def refusals() -> Iterator[None]:
    """404 for an unknown provider; 409 if its state does not allow the act."""
    try:
        yield
    except UnknownProvider as error:
        raise NotFound(str(error)) from error
    except ActRefused as error:
        raise Conflict(str(error)) from error


@extend_schema_view(
    list=extend_schema(summary="All providers, and how they are"),
    retrieve=extend_schema(summary="One provider", parameters=[NAME]),
)
class ProviderViewSet(GenericViewSet[Any]):
    """The providers of MESSAGE_PROVIDERS. A paused one gets no messages and is not
    probed; the others of a route take them, or they wait. Workers follow within a
    second.
    """

    required_scope = "admin"
    serializer_class = ProviderSerializer
    pagination_class = None  # a handful
    filter_backends = []
    lookup_url_kwarg = "name"
    lookup_value_regex = "[^/]{1,100}"

    @extend_schema(responses=ProviderSerializer(many=True))
    def list(self, request: Request) -> Response:
        found = overviews(now=timezone.now())
        return Response(ProviderSerializer(found, many=True).data)

    def retrieve(self, request: Request, name: str) -> Response:
        with refusals():
            found = overview(name, now=timezone.now())
        return Response(ProviderSerializer(found).data)

    @extend_schema(
        summary="Keep all messages away from a provider, now or in a window of time",
        parameters=[NAME],
        request=PauseRequestSerializer,
        responses={200: ProviderSerializer},
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, name: str) -> Response:
        asked = _valid(PauseRequestSerializer, request)
        times = {"since": asked["since"], "until": asked["until"]}
        return _act(pause_provider, name, request, asked["reason"], **times)

    @extend_schema(
        summary="End the pause in force; if none is, call off those planned",
        parameters=[NAME],
        request=ReasonSerializer,
        responses={200: ProviderSerializer},
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, name: str) -> Response:
        reason = _valid(ReasonSerializer, request)["reason"]
        return _act(resume_provider, name, request, reason)

    @extend_schema(
        summary="Let the next message try a provider that is out of use",
        parameters=[NAME],
        request=ReasonSerializer,
        responses={200: ProviderSerializer},
    )
    @action(detail=True, methods=["post"])
    def probe(self, request: Request, name: str) -> Response:
        reason = _valid(ReasonSerializer, request)["reason"]
        return _act(probe_provider, name, request, reason)


def _valid(serializer: type[ReasonSerializer], request: Request) -> dict[str, Any]:
    asked = serializer(data=request.data)
    asked.is_valid(raise_exception=True)
    found: dict[str, Any] = asked.validated_data
    return found


def _act(
    act: Callable[..., object],
    name: str,
    request: Request,
    reason: str,
    **times: object,
) -> Response:
    """Do it; the answer is the provider afterwards."""
    now = timezone.now()
    with refusals():
        act(name, Why(request.user.get_username(), reason, now), **times)
    return Response(ProviderSerializer(overview(name, now=now)).data)
