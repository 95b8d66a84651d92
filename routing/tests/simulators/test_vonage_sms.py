import hashlib
import hmac
import json

import pytest

from routing.simulators import credentials
from routing.tests.simulators.wires import JSON, VONAGE_AUTH, VONAGE_SMS


def test_every_part_has_its_entry_and_its_price(wires):
    answer = wires.vonage_sms(text="x" * 161, client_ref="m1a1").json()

    parts = answer["messages"]
    assert (answer["message-count"], len(parts)) == ("2", 2)
    assert len({part["message-id"] for part in parts}) == 2
    assert {(p["status"], p["message-price"], p["client-ref"]) for p in parts} == {
        ("0", "0.0333", "m1a1")
    }


def test_json_with_key_and_secret_is_taken_as_well(wires):
    secrets = {
        "api_key": credentials.VONAGE_API_KEY,
        "api_secret": credentials.VONAGE_API_SECRET,
    }
    response = wires.http.request(
        "POST",
        wires.url("vonage", "/sms/json"),
        body=json.dumps(VONAGE_SMS | secrets),
        headers=JSON,
    )

    assert response.json()["messages"][0]["status"] == "0"


def test_json_that_is_none_lacks_its_parameters(wires):
    response = wires.http.request(
        "POST",
        wires.url("vonage", "/sms/json"),
        body="{",
        headers=JSON | VONAGE_AUTH,
    )

    assert response.json()["messages"][0]["status"] == "2"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"to": None}, "2"),
        ({"from": None}, "2"),
        ({"text": None}, "2"),
        ({"to": "call me"}, "3"),
        ({"text": "x" * 3201}, "12"),
        ({"callback": "nowhere"}, "23"),
        ({"auth": {}}, "2"),
        ({"auth": {"Authorization": "Basic eDp5"}}, "4"),
    ],
)
def test_an_error_comes_inside_a_200(wires, changes, status):
    response = wires.vonage_sms(**changes)

    assert response.status == 200
    [entry] = response.json()["messages"]
    assert (entry["status"], bool(entry["error-text"])) == (status, True)


def test_every_part_has_its_signed_receipt(wires, receiver):
    sent = wires.vonage_sms(
        text="x" * 161, callback=f"{receiver.url}/here", client_ref="a&b=c"
    ).json()

    receipts = [call.form() for call in receiver.take(2)]

    assert [r["messageId"] for r in receipts] == [
        part["message-id"] for part in sent["messages"]
    ]
    for receipt in receipts:
        assert (receipt["status"], receipt["err-code"]) == ("delivered", "0")
        assert (receipt["msisdn"], receipt["client-ref"]) == ("15558675310", "a&b=c")
        assert receipt.pop("sig").lower() == signature(receipt)


def signature(receipt: dict[str, str]) -> str:
    text = "".join(
        f"&{key}={value.replace('&', '_').replace('=', '_')}"
        for key, value in sorted(receipt.items())
    )
    secret = credentials.VONAGE_SIGNATURE_SECRET.encode()
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("options", "code"), [({"undelivered_share": 1}, "3"), ({"off_share": 1}, "2")]
)
def test_an_undelivered_message_says_why(wires, receiver, simulator, options, code):
    simulator.configure(**options)
    wires.vonage_sms(callback=receiver.url)

    receipt = receiver.take(1)[0].form()

    assert (receipt["status"], receipt["err-code"]) == ("failed", code)
