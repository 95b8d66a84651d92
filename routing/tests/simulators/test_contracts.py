"""The simulators' answers, checked against the vendors' published documents.

The documents are not part of this repository. PROVIDER_SPECS_DIR says where they are;
otherwise they are read from `../shared/specs` beside the checkout.
"""

import json
import os
from functools import cache
from pathlib import Path

import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_schema_validator import OAS30Validator

from routing.tests.simulators.wires import ACCOUNT

_BESIDE = Path(__file__).resolve().parents[3].parent / "shared" / "specs"
SPECS = Path(os.environ.get("PROVIDER_SPECS_DIR", _BESIDE))

pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(),
    reason=f"{SPECS} is absent: set PROVIDER_SPECS_DIR to the vendors' documents.",
)


@cache
def document(name: str) -> dict:
    text = (SPECS / name).read_text()
    return dict(json.loads(text))


@cache
def openapi(name: str) -> OpenAPI:
    """The document, as if the vendor lived at http://vendor."""
    paths = {
        path: {key: value for key, value in item.items() if key != "servers"}
        for path, item in document(name)["paths"].items()
    }
    servers = [{"url": "http://vendor"}]
    return OpenAPI.from_dict({**document(name), "servers": servers, "paths": paths})


def assert_conforms(name: str, method: str, path: str, response) -> None:
    media_type = response.headers.get("Content-Type", "").partition(";")[0]
    openapi(name).validate_response(
        MockRequest("http://vendor", method, path),
        MockResponse(
            response.data,
            status_code=response.status,
            content_type=media_type or "application/json",
        ),
    )


def assert_is(name: str, schema: str, value: object) -> None:
    reference = {
        "$ref": f"#/components/schemas/{schema}",
        "components": document(name)["components"],
    }
    OAS30Validator(reference).validate(value)


TWILIO_DOCUMENTS = [
    "twilio_api_v2010.messages.json",
    "twilio_api_v2010.messages.prism.json",
]


@pytest.mark.parametrize("name", TWILIO_DOCUMENTS)
@pytest.mark.parametrize("changes", [{}, {"MediaUrl": "https://example.com/a.png"}])
def test_twilio_answers_with_a_message(wires, name, changes):
    response = wires.twilio(**changes)

    assert response.status == 201
    assert_conforms(name, "post", f"{ACCOUNT}/Messages.json", response)


@pytest.mark.parametrize("name", TWILIO_DOCUMENTS)
@pytest.mark.parametrize("undelivered_share", [0, 1])
def test_twilio_shows_messages_and_what_became_of_them(
    wires, simulator, receiver, name, undelivered_share
):
    simulator.configure(undelivered_share=undelivered_share)
    sid = wires.twilio(StatusCallback=receiver.url).json()["sid"]
    receiver.take(2)

    for path in (f"/Messages/{sid}.json", "/Messages.json"):
        response = wires.get_twilio(path)
        assert response.status == 200
        assert_conforms(name, "get", ACCOUNT + path, response)


@pytest.mark.parametrize("changes", [{}, {"text": "x" * 200}, {"to": "nobody"}])
def test_vonage_sms_answers_as_documented(wires, changes):
    response = wires.vonage_sms(**changes)

    assert_conforms("vonage_sms.prism.json", "post", "/sms/json", response)


@pytest.mark.parametrize("undelivered_share", [0, 1])
def test_vonage_sms_receipts_are_as_documented(
    wires, simulator, receiver, undelivered_share
):
    simulator.configure(undelivered_share=undelivered_share)
    wires.vonage_sms(callback=receiver.url, client_ref="m1a1")

    receipt = receiver.take(1)[0].form()

    documented = document("vonage_sms.prism.json")["components"]["schemas"]
    assert set(receipt) == set(documented["DeliveryReceipt"]["properties"])
    assert_is("vonage_sms.prism.json", "DeliveryReceipt", receipt)


# For a 401 the document requires a property "details" that its own examples lack.
@pytest.mark.parametrize(
    ("changes", "fault", "status"),
    [
        ({}, None, 202),
        ({"channel": "pigeon"}, None, 422),
        ({"image": {}}, None, 422),
        ({}, {"kind": "throttle"}, 429),
        ({}, {"kind": "error", "code": "low-balance"}, 402),
        ({}, {"kind": "error", "code": "1030"}, 500),
    ],
)
def test_vonage_messages_answers_as_documented(
    wires, simulator, changes, fault, status
):
    if fault:
        simulator.set_fault("VonageMMS", **fault)
    response = wires.vonage_mms(**changes)

    assert response.status == status
    assert_conforms("vonage_messages.prism.json", "post", "/v1/messages", response)


@pytest.mark.parametrize("undelivered_share", [0, 1])
def test_vonage_messages_receipts_are_as_documented(
    wires, simulator, receiver, undelivered_share
):
    simulator.configure(undelivered_share=undelivered_share)
    wires.vonage_mms(webhook_url=receiver.url, client_ref="m1a1")

    for call in receiver.take(2):
        assert_is("vonage_messages.prism.json", "messageStatusMMS", call.json())


@pytest.mark.parametrize(
    ("changes", "fault", "status"),
    [
        ({}, None, 202),
        ({"auth": {}}, None, 401),
        ({"content": []}, None, 400),
        ({}, {"kind": "error", "code": "403"}, 403),
        ({}, {"kind": "error", "code": "413"}, 413),
        ({}, {"kind": "error", "code": "500"}, 500),
    ],
)
def test_sendgrid_answers_as_documented(wires, simulator, changes, fault, status):
    if fault:
        simulator.set_fault("SendGridEmail", **fault)
    response = wires.sendgrid(**changes)

    assert response.status == status
    assert_conforms("sendgrid_mail_v3.prism.json", "post", "/v3/mail/send", response)
