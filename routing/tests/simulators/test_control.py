import pytest

from routing.simulators.client import SimulatorRefused


def test_the_state_counts_requests_faults_and_handsets(wires, simulator):
    simulator.configure(receipts=False)
    simulator.set_fault("TwilioSMS", "error", code="20500", count=1)
    for _ in range(3):
        wires.twilio()
    wires.twilio(To="12345")

    assert simulator.state()["providers"]["TwilioSMS"] == {
        "requests": 4,
        "fault_error": 1,
        "accepted": 2,
        "handset": 2,
        "refused": 1,
    }


def test_a_reset_forgets_everything_but_the_handset_log(wires, simulator, handset_log):
    simulator.configure(latency=0.01)
    wires.twilio()
    simulator.set_fault("TwilioSMS", "hang")
    simulator.reset()

    state = simulator.state()
    assert (state["providers"], state["faults"]) == ({}, {})
    assert state["options"]["latency"] == 0
    assert wires.get_twilio("/Messages.json").json()["messages"] == []
    assert len(handset_log()) == 1


def test_a_reset_opens_a_closed_listener(wires, simulator):
    simulator.set_fault("TwilioSMS", "refuse")
    simulator.reset()

    assert wires.twilio().status == 201


def test_the_state_shows_the_faults_in_force(simulator):
    simulator.set_fault("TwilioSMS", "slow", delay=2)

    assert simulator.state()["faults"] == {"TwilioSMS": {"kind": "slow", "delay": 2}}


@pytest.mark.parametrize(
    "mistake",
    [
        lambda client: client.set_fault("Pigeon", "hang"),
        lambda client: client.set_fault("TwilioSMS", "explode"),
        lambda client: client.configure(colour="red"),
        lambda client: client.configure(latency="long"),
        lambda client: client.text_us("SMTPEmail", "+14155550101", "STOP"),
    ],
)
def test_a_mistake_is_refused_with_a_reason(simulator, mistake):
    with pytest.raises(SimulatorRefused, match=r"\w"):
        mistake(simulator)


@pytest.mark.parametrize("body", ["{", "[]"])
def test_a_body_that_is_no_json_object_is_refused(wires, simulator, body):
    url = wires.url("control", "/options")

    assert wires.http.request("PATCH", url, body=body).status == 400


def test_settings_point_at_the_simulators(simulator, settings):
    twilio = settings.MESSAGE_PROVIDERS["TwilioSMS"]["OPTIONS"]

    assert twilio["BASE_URL"] == f"http://127.0.0.1:{simulator.base_port + 1}"


def test_receipts_come_to_the_live_server_of_a_test_that_has_one(
    live_server, simulator, settings
):
    twilio = settings.MESSAGE_PROVIDERS["TwilioSMS"]["OPTIONS"]

    assert simulator.state()["options"]["public_url"] == live_server.url
    assert twilio["RECEIPT_URL"] == f"{live_server.url}/webhooks/TwilioSMS/"


def test_a_handset_that_nobody_listens_to_hears_so(simulator):
    assert simulator.text_us("TwilioSMS", "+14155550101", "STOP") == (0, "")
