import hashlib

import jwt
import pytest

from routing.simulators import credentials
from routing.simulators.process import read_handset_log


def test_a_message_is_accepted_with_its_uuid(wires, simulator_process):
    response = wires.vonage_mms(client_ref="m1a1")

    [entry] = read_handset_log(simulator_process.handset_log)
    assert response.status == 202
    assert entry.message.external_message_id == response.json()["message_uuid"]
    assert entry.message.media_urls == ("https://example.com/a.png",)
    assert (entry.message.reference, entry.message.body) == ("m1a1", "Hello")
    assert entry.message.recipient == "+15558675310"


def test_a_jwt_is_taken_in_place_of_key_and_secret(wires):
    assert wires.vonage_mms(auth={"Authorization": "Bearer a.b.c"}).status == 202


def test_a_text_needs_no_media(wires):
    assert wires.vonage_mms(message_type="text", text="Hello").status == 202


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"auth": {}}, 401, "unauthorized"),
        ({"channel": "pigeon"}, 422, "1100"),
        ({"to": "+15558675310"}, 422, "1170"),
        ({"from": ""}, 422, "1120"),
        ({"message_type": "song"}, 422, "1140"),
        ({"image": {}}, 422, "1150"),
        ({"client_ref": "x" * 101}, 422, "1060"),
    ],
)
def test_a_bad_request_gets_a_problem_document(wires, changes, status, code):
    response = wires.vonage_mms(**changes)

    assert response.status == status
    assert response.json()["type"].endswith(f"#{code}")
    assert set(response.json()) == {"type", "title", "detail", "instance"}


@pytest.mark.parametrize("body", ["{", "[]"])
def test_a_body_that_is_no_json_object_is_refused(wires, body):
    response = wires.http.request(
        "POST",
        wires.url("vonage", "/v1/messages"),
        body=body,
        headers={"Authorization": "Bearer a.b.c"},
    )

    assert response.status == 422
    assert response.json()["type"].endswith("#invalid-json")


def test_receipts_carry_a_jwt_with_the_hash_of_their_body(wires, receiver):
    wires.vonage_mms(webhook_url=f"{receiver.url}/here", client_ref="m1a1")

    calls = receiver.take(2)

    assert [call.json()["status"] for call in calls] == ["submitted", "delivered"]
    for call in calls:
        token = call.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(
            token, credentials.VONAGE_SIGNATURE_SECRET, algorithms=["HS256"]
        )
        assert claims["payload_hash"] == hashlib.sha256(call.body).hexdigest()
        assert call.json()["client_ref"] == "m1a1"


@pytest.mark.parametrize(
    ("options", "code"),
    [({"undelivered_share": 1}, "1190"), ({"off_share": 1}, "1180")],
)
def test_an_undelivered_message_says_why(wires, receiver, simulator, options, code):
    simulator.configure(**options)
    wires.vonage_mms(webhook_url=receiver.url)

    receipt = receiver.take(2)[1].json()

    assert receipt["status"] == "undeliverable"
    assert receipt["error"]["type"].endswith(f"#{code}")
