import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from routing.simulators import credentials
from routing.simulators.process import read_handset_log


def to(*addresses: str, **more: object) -> list[dict[str, object]]:
    return [{"to": [{"email": address} for address in addresses], **more}]


def test_a_mail_is_accepted_with_its_id_and_an_empty_body(wires, simulator_process):
    personalizations = to("ada@example.com", custom_args={"reference": "m1a1"})
    response = wires.sendgrid(personalizations=personalizations)

    [entry] = read_handset_log(simulator_process.handset_log)
    assert (response.status, response.data) == (202, b"")
    call_id, _, _ = entry.message.external_message_id.partition(".")
    assert call_id == response.headers["X-Message-Id"]
    assert entry.message.reference == "m1a1"
    assert (entry.message.subject, entry.message.body) == ("News", "Hello")


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"auth": {}}, 401, None),
        ({"personalizations": []}, 400, "personalizations"),
        ({"personalizations": 3}, 400, None),
        ({"personalizations": to("ada")}, 400, "personalizations.0.to.0.email"),
        ({"personalizations": to()}, 400, "personalizations.0.to.0.email"),
        (
            {"personalizations": to("a@e.com") + to("A@e.com")},
            400,
            "personalizations",
        ),
        (
            {"personalizations": [{"to": [{"email": "a@e.com"}]}] * 1001},
            400,
            "personalizations",
        ),
        (
            {"personalizations": to("a@e.com") + to("b")},
            400,
            "personalizations.1.to.0.email",
        ),
        (
            {"personalizations": to("a@e.com", substitutions={"-x-": "a" * 10_000})},
            400,
            "personalizations.0.substitutions",
        ),
        ({"personalizations": to("a@e.com", substitutions={"-x-": 1})}, 400, None),
        ({"from": {}}, 400, "from.email"),
        ({"content": []}, 400, "content"),
    ],
)
def test_a_bad_request_gets_sendgrids_own_error(wires, changes, status, field):
    response = wires.sendgrid(**changes)

    [error] = response.json()["errors"]
    assert (response.status, error.get("field")) == (status, field)
    assert error["message"]


def test_each_personalization_has_a_text_headers_and_arguments_of_its_own(
    wires, simulator_process
):
    people = [
        {
            "to": [{"email": f"{name}@example.com"}],
            "subject": f"To {name}",
            "substitutions": {"-name-": name, "-also-": "-name-"},
            "custom_args": {"reference": reference},
            "headers": {
                "List-Unsubscribe": f"<https://e.com/{name}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            },
        }
        for name, reference in [("ada", "m1a1"), ("bob", "m2a1")]
    ]
    content = [{"type": "text/plain", "value": "Hello -name-, -also-"}]

    wires.sendgrid(personalizations=people, content=content)

    messages = [e.message for e in read_handset_log(simulator_process.handset_log)]
    assert [
        (each.reference, each.subject, each.body, each.unsubscribe_url)
        for each in messages
    ] == [
        ("m1a1", "To ada", "Hello ada, ada", "https://e.com/ada"),
        ("m2a1", "To bob", "Hello bob, bob", "https://e.com/bob"),
    ]


def test_events_come_in_a_signed_batch_with_our_arguments(wires, receiver, simulator):
    simulator.configure(public_url=receiver.url)
    people = to("ada@example.com", "unknown@example.com")
    wires.sendgrid(personalizations=people, custom_args={"reference": "m1a1"})

    [call] = receiver.take(1)

    assert call.path == "/webhooks/SendGridEmail/"
    events = call.json()
    assert [(event["event"], event["email"]) for event in events] == [
        ("processed", "ada@example.com"),
        ("delivered", "ada@example.com"),
        ("processed", "unknown@example.com"),
        ("bounce", "unknown@example.com"),
    ]
    assert {event["reference"] for event in events} == {"m1a1"}
    assert len({event["sg_event_id"] for event in events}) == 4
    assert len({event["sg_message_id"] for event in events}) == 2
    verify(call)


def verify(call):
    signature = call.headers["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp = call.headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    credentials.sendgrid_private_key().public_key().verify(
        base64.b64decode(signature),
        timestamp.encode() + call.body,
        ec.ECDSA(hashes.SHA256()),
    )


def test_many_events_come_in_several_batches(wires, receiver, simulator):
    simulator.configure(public_url=receiver.url, receipt_delay=0)
    wires.sendgrid(
        personalizations=to(*(f"p{number}@example.com" for number in range(60)))
    )

    batches = [call.json() for call in receiver.take(2)]

    assert sorted(map(len, batches)) == [20, 100]
