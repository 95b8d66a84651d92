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
from routing.vocabulary import Channel

HTML_REFERENCE = re.compile(r"""(?:src|href)=["']([^"']+)["']""")


@pytest.fixture
def document(client):
    """The OpenAPI document, as generators of clients get it."""
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


@pytest.mark.django_db
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_pages_load_nothing_from_outside(client, slash):
    page = client.get(f"/api/docs{slash}")

    references = HTML_REFERENCE.findall(page.text)
    assert any(each.endswith("swagger-ui-bundle.js") for each in references)
    for each in references:
        assert each.startswith("/static/"), f"{each} is on another host"
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
    assert again.status_code == 200  # YAML is another document
    same = client.get(
        "/api/schema?format=json", headers={"If-None-Match": first["ETag"]}
    )
    assert (same.status_code, same.content) == (304, b"")
