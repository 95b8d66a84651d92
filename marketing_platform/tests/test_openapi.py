"""The API's description: /api/schema/ and /api/docs/."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import yaml
from django.test import Client
from openapi_spec_validator import validate

from marketing_platform import schema_view
from messaging.models import Campaign, CampaignMessage
from routing.api.conventions.naming import camel_case
from routing.models import MessageDeliveryAttempt
from routing.vocabulary import Channel

HTML_REFERENCE = re.compile(r"""(?:src|href)=["']([^"']+)["']""")


@pytest.fixture
def document(client):
    """The OpenAPI document, as client generators get it."""
    return json.loads(client.get("/api/schema?format=json").content)


def test_the_document_is_valid_openapi(document):
    validate(document)


def test_the_document_comes_as_yaml_and_as_json(client, document):
    assert yaml.safe_load(client.get("/api/schema/").content) == document


def test_the_document_has_every_path_once_and_without_slash(document):
    assert "/api/routingconfig/{id}" in document["paths"]
    assert not [path for path in document["paths"] if path.endswith("/")]


def test_every_operation_needs_the_bearer_token(document):
    operations = [each for path in document["paths"].values() for each in path.values()]

    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert all(each["security"] == [{"bearer": []}] for each in operations)


def test_every_operation_says_in_a_line_what_it_does(document):
    for path in document["paths"].values():
        for operation in path.values():
            assert operation.get("summary"), operation["operationId"]


def test_every_operation_says_how_it_refuses(document):
    for path in document["paths"].values():
        for operation in path.values():
            refusal = operation["responses"]["401"]["content"]
            assert list(refusal) == ["application/problem+json"]


def test_enums_are_integers_with_names(document):
    channel = document["components"]["schemas"]["Channel"]

    assert channel["enum"] == [each.value for each in Channel]
    assert channel["x-enum-varnames"] == [each.name for each in Channel]
    assert "`2` - Email" in channel["description"]


def test_bodies_are_closed_and_answers_complete(document):
    schemas = document["components"]["schemas"]

    assert schemas["RouteRequest"]["additionalProperties"] is False
    assert set(schemas["Route"]["required"]) == set(schemas["Route"]["properties"])


def objects(document):
    """Every object schema of the document, by its name."""
    schemas = document["components"]["schemas"].items()
    return {name: each for name, each in schemas if "properties" in each}


def test_what_may_be_null_is_said_as_openapi_3_1_says_it(document):
    assert "nullable" not in json.dumps(document)
    page = objects(document)["PaginatedMessageList"]
    assert page["properties"]["next"]["type"] == ["string", "null"]
    assert page["required"] == ["next", "previous", "results"]
    figures = objects(document)["Figures"]["properties"]
    assert figures["deliveryRate"]["type"] == ["number", "null"]


@pytest.mark.parametrize("model", [Campaign, CampaignMessage, MessageDeliveryAttempt])
def test_a_column_that_may_be_null_may_be_null_in_the_answer(document, model):
    names = {"CampaignMessage": "MessageDetail", "MessageDeliveryAttempt": "Attempt"}
    schema = objects(document)[names.get(model.__name__, "CampaignDetail")]
    columns = {camel_case(field.name): field.null for field in model._meta.fields}

    shared = schema["properties"].keys() & columns.keys() - FILLED_FROM_THE_CAMPAIGN
    assert len(shared) > 9
    for name in shared:
        assert _may_be_null(schema["properties"][name]) == columns[name], name


FILLED_FROM_THE_CAMPAIGN = {"mediaUrls", "campaign"}


def _may_be_null(schema):
    options = [each.get("$ref", "") for each in schema.get("oneOf", ())]
    return "null" in schema.get("type", ()) or any("NullEnum" in o for o in options)


def test_no_field_has_a_default_that_generators_take_for_required(document):
    for name, schema in objects(document).items():
        for field, each in schema["properties"].items():
            assert "default" not in each, f"{name}.{field}"
    kind = objects(document)["SingleMessageRequest"]["properties"]["kind"]
    assert kind["description"].endswith("Default: 0.")


def test_the_document_says_where_the_api_is_and_is_the_same_each_time(
    client, document, settings
):
    urls = [server["url"] for server in document["servers"]]

    assert urls == ["/", settings.SPECTACULAR_SETTINGS["SERVERS"][1]["url"]]
    assert json.loads(client.get("/api/schema?format=json").content) == document


@pytest.mark.django_db
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_pages_load_nothing_from_outside(client, slash):
    page = client.get(f"/api/docs{slash}")

    references = HTML_REFERENCE.findall(page.text)
    assert any(each.endswith("swagger-ui-bundle.js") for each in references)
    for each in references:
        ours = ("/static/", f"/api/docs{slash}?script=")
        assert each.startswith(ours), f"{each} is on another host"
        with closing(client.get(each)) as file:
            assert file.status_code == 200, each
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_first_calls_at_once_all_get_the_document():
    schema_view._written.cache_clear()
    schema_view._built.cache_clear()

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(Client().get, "/api/schema?format=json") for _ in range(8)]
        answers = [call.result() for call in calls]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


def test_the_document_is_built_once_and_kept_by_those_who_have_it(client):
    first = client.get("/api/schema?format=json")
    start = time.process_time()
    for _ in range(20):
        client.get("/api/schema?format=json")
        again = client.get("/api/schema", headers={"If-None-Match": first["ETag"]})

    assert time.process_time() - start < 2
    assert "max-age" in first["Cache-Control"]
    assert again.status_code == 200  # YAML is a different document
    same = client.get(
        "/api/schema?format=json", headers={"If-None-Match": first["ETag"]}
    )
    assert (same.status_code, same.content) == (304, b"")
