"""The API has everything that decisions and explanations contain."""

from __future__ import annotations

from random import Random

import pytest
from django.utils import timezone

from routing.api.conventions.serializers import ApiSerializer
from routing.api.decisions import DecisionSerializer, ExplanationSerializer
from routing.decision.explain import explain, request_to
from routing.decision.planner import Planner
from routing.factories import RouteFactory
from routing.rules.decide import Choices, first_choice
from routing.strategies import Candidate
from routing.vocabulary import CampaignKind, Channel


def left_out(value, serializer):
    """The names in a record that its serializer lacks, at any depth."""
    fields = {field.source: field for field in serializer.fields.values()}
    missing = set(value) - set(fields)
    for name in set(value) & set(fields):
        field = getattr(fields[name], "child", fields[name])
        if value[name] == []:
            continue
        inner = value[name][0] if isinstance(value[name], list) else value[name]
        if isinstance(field, ApiSerializer):
            missing |= {f"{name}.{each}" for each in left_out(inner, field)}
    return missing


HOW_TO_MEND = "Add these to routing/api/decisions.py, or clients do not see them."


@pytest.mark.django_db
def test_all_that_is_on_record_of_a_decision_is_shown():
    route = RouteFactory().as_route()
    choices = Choices(candidates=tuple(map(Candidate, route.providers)))

    record = first_choice(route, choices).record

    assert not left_out(record, DecisionSerializer()), HOW_TO_MEND


@pytest.mark.django_db
def test_all_that_an_explanation_says_is_shown():
    RouteFactory()
    request = request_to(
        channel=Channel.SMS, to="+4915112345678", body="", kind=CampaignKind.MARKETING
    )

    said = explain(
        request, planner=Planner(rng=Random(0)), now=timezone.now()
    ).as_json()

    assert not left_out(said, ExplanationSerializer()), HOW_TO_MEND


def test_something_that_is_left_out_would_be_noticed():
    assert left_out(
        {"candidates": [{"colour": 1}], "mood": 2}, DecisionSerializer()
    ) == {
        "mood",
        "candidates.colour",
    }
