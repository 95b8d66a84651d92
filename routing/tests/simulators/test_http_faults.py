"""The same faults of every HTTP vendor; only the vendors' answers differ."""

import time

import pytest
import urllib3
from urllib3.exceptions import HTTPError

SENDERS = {
    "TwilioSMS": lambda wires: wires.twilio(),
    "TwilioMMS": lambda wires: wires.twilio(MediaUrl="https://example.com/a.png"),
    "VonageSMS": lambda wires: wires.vonage_sms(),
    "VonageMMS": lambda wires: wires.vonage_mms(),
    "SendGridEmail": lambda wires: wires.sendgrid(),
}
every_provider = pytest.mark.parametrize("provider", SENDERS)


@pytest.fixture(scope="session")
def http():
    """As in conftest, with a shorter time-out."""
    pool = urllib3.PoolManager(retries=False, timeout=0.5)
    yield pool
    pool.clear()


def events(handset_log) -> list[str]:
    return [line.split()[0] for line in handset_log()]


@every_provider
def test_unavailable_is_a_503_from_a_load_balancer(
    wires, simulator, handset_log, provider
):
    simulator.set_fault(provider, "unavailable", retry_after=7)
    response = SENDERS[provider](wires)

    assert (response.status, response.headers["Retry-After"]) == (503, "7")
    assert events(handset_log) == []


@pytest.mark.parametrize(
    ("provider", "status"),
    [
        ("TwilioSMS", 429),
        ("VonageSMS", 200),
        ("VonageMMS", 429),
        ("SendGridEmail", 429),
    ],
)
def test_throttling_has_the_vendors_status(wires, simulator, provider, status):
    simulator.set_fault(provider, "throttle")
    response = SENDERS[provider](wires)

    assert response.status == status
    assert "Retry-After" not in response.headers
    if provider == "VonageSMS":
        assert response.json()["messages"][0]["status"] == "1"


def test_throttling_names_seconds_only_if_told(wires, simulator):
    simulator.set_fault("TwilioSMS", "throttle", retry_after=3)

    assert wires.twilio().headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("provider", "fault", "status", "said"),
    [
        ("TwilioSMS", {"code": "30034"}, 400, b'"code": 30034'),
        ("TwilioSMS", {"code": "20500"}, 500, b'"code": 20500'),
        ("TwilioMMS", {"code": "21620", "status": 422}, 422, b'"code": 21620'),
        ("VonageSMS", {"code": "9"}, 200, b'"status": "9"'),
        ("VonageSMS", {"code": "5", "status": 500}, 500, b'"status": "5"'),
        ("VonageMMS", {"code": "1240"}, 422, b"messages-olympus#1240"),
        ("VonageMMS", {"code": "low-balance"}, 402, b"api-errors/#low-balance"),
        ("SendGridEmail", {"code": "403"}, 403, b"access forbidden"),
        ("SendGridEmail", {"code": "400", "message": "no"}, 400, b'"message": "no"'),
        ("SendGridEmail", {"status": 502}, 502, b"errors"),
    ],
)
def test_an_error_is_the_vendors_own(
    wires, simulator, handset_log, provider, fault, status, said
):
    simulator.set_fault(provider, "error", **fault)
    response = SENDERS[provider](wires)

    assert response.status == status
    assert said in response.data
    assert events(handset_log) == []


@every_provider
@pytest.mark.parametrize("kind", ["drop", "hang"])
@pytest.mark.parametrize("accepted", [False, True])
def test_no_answer_does_not_say_whether_the_message_was_taken(
    wires, simulator, handset_log, provider, kind, accepted
):
    simulator.set_fault(provider, kind, accepted=accepted)

    with pytest.raises(HTTPError):
        SENDERS[provider](wires)

    assert ("accepted" in events(handset_log)) is accepted


@every_provider
def test_garbage_has_the_status_of_success_and_the_message_is_taken(
    wires, simulator, handset_log, provider
):
    simulator.set_fault(provider, "garbage")
    response = SENDERS[provider](wires)

    assert response.status in (200, 201, 202)
    with pytest.raises(ValueError, match=r"decode|JSON"):
        response.json()
    assert "accepted" in events(handset_log)


@every_provider
def test_a_huge_body_goes_on_and_on(wires, simulator, provider):
    simulator.set_fault(provider, "huge", megabytes=3)

    assert len(SENDERS[provider](wires).data) == 3 << 20


@every_provider
def test_a_slow_answer_is_too_late_for_a_message_that_is_taken(
    wires, simulator, handset_log, provider
):
    simulator.set_fault(provider, "slow", delay=1)

    with pytest.raises(HTTPError):
        SENDERS[provider](wires)

    assert "accepted" in events(handset_log)


@every_provider
def test_a_dripping_answer_is_the_real_one(wires, simulator, provider):
    simulator.set_fault(provider, "drip", interval=0.0001)

    assert SENDERS[provider](wires).status in (200, 201, 202)


def test_a_dripping_answer_outlasts_a_time_out_between_bytes(wires, simulator):
    simulator.set_fault("SendGridEmail", "drip", interval=0.01)
    began = time.monotonic()
    wires.sendgrid()

    assert time.monotonic() - began > 0.5


@every_provider
def test_a_closed_listener_refuses_also_those_who_were_connected(
    wires, simulator, provider
):
    SENDERS[provider](wires)
    simulator.set_fault(provider, "refuse")

    with pytest.raises(HTTPError):
        SENDERS[provider](wires)
    simulator.clear_faults()
    assert SENDERS[provider](wires).status in (200, 201, 202)


def test_a_closed_listener_opens_by_itself(wires, simulator):
    simulator.set_fault("VonageSMS", "refuse", seconds=0.2)
    time.sleep(0.5)

    assert wires.vonage_sms().status == 200


def test_a_fault_of_sms_leaves_mms_alone(wires, simulator):
    simulator.set_fault("TwilioSMS", "unavailable")

    assert wires.twilio(MediaUrl="https://example.com/a.png").status == 201


def test_latency_delays_every_answer(wires, simulator):
    simulator.configure(latency=0.2)
    began = time.monotonic()
    wires.twilio()

    assert time.monotonic() - began >= 0.2
