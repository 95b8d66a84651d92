"""The conventions of every endpoint: names, types, errors, pages, filters."""

from __future__ import annotations

import json

import pytest
from django.db import IntegrityError
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from messaging.factories import MessageFactory
from messaging.models import CampaignMessage
from routing.api.conventions.filters import ApiFilterSet, FlagFilter, TermFilter
from routing.api.conventions.naming import camel_case
from routing.api.conventions.problems import (
    exception_handler,
    field_errors,
    server_error,
)
from routing.api.conventions.serializers import (
    ApiModelSerializer,
    ApiSerializer,
    QuerySerializer,
    TermField,
)
from routing.vocabulary import Channel

# Without a token: these are about bodies.
OPEN: dict[str, list] = {
    "authentication_classes": [],
    "permission_classes": [],
    "throttle_classes": [],
}


class WeightSerializer(ApiSerializer):
    weight = serializers.IntegerField(min_value=0)


class ThingSerializer(ApiSerializer):
    max_retries = serializers.IntegerField(required=False)
    is_active = serializers.BooleanField(required=False)
    minimum_share = serializers.FloatField(required=False)
    sent_at = serializers.DateTimeField(required=False)
    channel = TermField(choices=Channel.choices(), required=False)
    name = serializers.CharField(required=False)
    shown_only = serializers.CharField(read_only=True)
    whole_weights = WeightSerializer(many=True, required=False)
    double = serializers.SerializerMethodField()

    def get_double(self, thing):
        return thing["max_retries"] * 2


class MessageSerializer(ApiModelSerializer):
    class Meta:
        model = CampaignMessage
        fields = ["id", "channel", "retry_count"]


class MessageFilters(ApiFilterSet):
    channel = TermFilter(Channel)
    recipient_is = FlagFilter(field_name="unknown_since", lookup_expr="isnull")


class Echo(APIView):
    """Returns the serializer's data."""

    def post(self, request):
        thing = ThingSerializer(data=request.data)
        thing.is_valid(raise_exception=True)
        return Response(
            {name: str(each) for name, each in thing.validated_data.items()}
        )


class Messages(ListModelMixin, GenericViewSet):
    queryset = CampaignMessage.objects.order_by()
    serializer_class = MessageSerializer
    filterset_class = MessageFilters


def post(body, content_type="application/json"):
    request = APIRequestFactory().post("/", body, content_type=content_type)
    return Echo.as_view(**OPEN)(request).render()


def errors(body):
    """(field, code) of every problem with a body."""
    answer = ThingSerializer(data=body)
    assert not answer.is_valid()
    return [(each["field"], each["code"]) for each in field_errors(answer.errors)]


def listed(query=""):
    return Messages.as_view({"get": "list"}, **OPEN)(
        APIRequestFactory().get(f"/{query}")
    )


def test_names_are_in_camel_case():
    assert camel_case("initial_retry_delay_seconds") == "initialRetryDelaySeconds"
    assert set(ThingSerializer().fields) >= {"maxRetries", "isActive", "channel"}


def test_values_come_from_and_go_to_the_names_in_our_code():
    thing = ThingSerializer(data={"maxRetries": 3, "isActive": True})

    assert thing.is_valid()
    assert thing.validated_data == {"max_retries": 3, "is_active": True}
    assert ThingSerializer({"max_retries": 3}).data["double"] == 6


def test_an_unknown_field_is_refused_with_those_that_are_allowed():
    answer = post('{"maxRetrys": 3, "max_retries": 3}').data

    assert [each["field"] for each in answer["errors"]] == ["maxRetrys", "max_retries"]
    assert answer["errors"][0]["code"] == "unknown"
    assert "Allowed: channel, double, isActive, maxRetries" in answer["detail"]


def test_a_field_that_is_only_shown_may_be_sent_back():
    thing = ThingSerializer(data={"maxRetries": 3, "shownOnly": "seen"})

    assert thing.is_valid()
    assert "shown_only" not in thing.validated_data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("maxRetries", "3"),
        ("maxRetries", True),
        ("maxRetries", 3.5),
        ("isActive", "yes"),
        ("isActive", 1),
        ("minimumShare", "0.5"),
        ("name", 7),
        ("name", True),
        ("sentAt", 1767225600),
    ],
)
def test_a_value_of_another_json_type_is_refused(field, value):
    assert errors({field: value}) == [(field, "type")]


@pytest.mark.parametrize("value", [9, "0", 0.0, True, [], {}])
def test_a_word_that_is_not_in_the_vocabulary_lists_those_that_are(value):
    thing = ThingSerializer(data={"channel": value})

    assert not thing.is_valid()
    assert thing.errors["channel"] == ["Choose one of: 0 (SMS), 1 (MMS), 2 (Email)."]


def test_a_problem_in_a_list_names_the_place():
    body = {"wholeWeights": [{"weight": 1}, {"weight": -1}, {"wait": 1}]}

    assert errors(body) == [
        ("wholeWeights[1].weight", "min_value"),
        ("wholeWeights[2].wait", "unknown"),
    ]


def test_a_refusal_is_a_problem_document():
    answer = post('{"channel": 9, "name": ""}')

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.data == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "channel: Choose one of: 0 (SMS), 1 (MMS), 2 (Email). (1 more in "
        "`errors`.)",
        "errors": [
            {
                "field": "channel",
                "code": "invalid_choice",
                "detail": "Choose one of: 0 (SMS), 1 (MMS), 2 (Email).",
            },
            {
                "field": "name",
                "code": "blank",
                "detail": "This field may not be blank.",
            },
        ],
    }


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "7", '{"name": NaN}', "[" * 100_000, '{"\\ud800": 1}', "\xff"],
    ids=lambda body: body[:12],
)
def test_a_body_that_is_no_object_is_refused_and_breaks_nothing(body):
    answer = post(body.encode("latin-1"))

    assert answer.status_code == 400 or body == ""
    assert answer.content


def test_a_body_that_is_not_json_is_answered_415():
    assert post("name=x", "application/x-www-form-urlencoded").status_code == 415


def test_a_body_that_is_too_large_is_answered_413(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

    assert post('{"name": "%s"}' % ("x" * 100)).status_code == 413


def test_a_problem_with_the_whole_body_has_no_field():
    (error,) = field_errors(ValidationError(["Both are empty."], "both").detail)

    assert error == {"field": None, "code": "both", "detail": "Both are empty."}


@pytest.mark.django_db
def test_a_list_that_grows_comes_in_pages_with_the_newest_first():
    made = [MessageFactory().pk for _ in range(3)]

    first = listed("?pageSize=2").data
    rest = listed("?" + first["next"].partition("?")[2]).data

    shown = [each["id"] for each in first["results"] + rest["results"]]
    assert shown == made[::-1]
    assert (first["previous"], rest["next"]) == (None, None)


@pytest.mark.django_db
def test_a_filter_takes_the_integers_of_the_wire():
    MessageFactory()

    assert len(listed("?channel=0&recipientIs=true").data["results"]) == 1
    assert listed("?channel=1").data["results"] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("?chanel=0", "chanel", "Unknown. Allowed: channel, cursor, pageSize, recip"),
        ("?channel=9", "channel", "Choose one of: 0 (SMS), 1 (MMS), 2 (Email)."),
        ("?channel=SMS", "channel", "Choose one of: 0 (SMS)"),
        ("?recipientIs=yes", "recipientIs", "Choose true or false."),
        ("?channel=", "channel", "Give it one value, or leave it out."),
        ("?channel=0&channel=1", "channel", "Give it one value, or leave it out."),
        ("?pageSize=0", "pageSize", "Choose from 1 to 200."),
        ("?pageSize=201", "pageSize", "Choose from 1 to 200."),
        ("?pageSize=all", "pageSize", "Choose from 1 to 200."),
        ("?cursor=second", "cursor", "Take it from `next` or `previous`."),
        ("?cursor=cD1hYmM=", "cursor", "Take it from `next` or `previous`."),  # p=abc
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(query, field, says):
    answer = listed(query)

    assert answer.status_code == 400
    assert answer.data["errors"][0]["field"] == field
    assert says in answer.data["errors"][0]["detail"]


@pytest.mark.parametrize("query", ["since=", "since=1&since=2"])
def test_a_parameter_without_one_value_is_not_taken_for_left_out(query):
    class Since(QuerySerializer):
        since = serializers.CharField(required=False)

    asked = Since(data=QueryDict(query))

    assert not asked.is_valid()
    assert asked.errors["since"] == "Give it one value, or leave it out."


def test_who_was_slower_is_told_to_look_again():
    answer = exception_handler(IntegrityError("duplicate key"), {})

    assert answer.status_code == 409
    assert "read the current state and try again" in answer.data["detail"]
    assert "duplicate key" not in str(answer.data)


def test_our_own_mistakes_are_problem_documents_too(rf):
    answer = server_error(rf.get("/api/messages"))

    assert (answer.status_code, json.loads(answer.content)["status"]) == (500, 500)
    assert server_error(rf.get("/admin/"))["Content-Type"].startswith("text/html")


def test_an_address_below_the_api_without_endpoint_is_a_problem_document(client):
    answer = client.get("/api/nothing")

    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert client.get("/nothing")["Content-Type"].startswith("text/html")
