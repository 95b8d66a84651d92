"""manage.py process_queue, as people run it."""

from __future__ import annotations

import json
import signal

import pytest
from django.core.management import CommandError, call_command

from marketing_platform.testing.installation import Installation, wait_until
from messaging.tests.scene import messages


@pytest.mark.django_db
def test_it_prints_its_report_as_json(route, capsys):
    messages(3)

    call_command("process_queue", "--once", "--json")

    report = json.loads(capsys.readouterr().out)
    assert report["claimed"] == report["accepted"] == 3


@pytest.mark.django_db
def test_it_prints_its_report_for_people(route, capsys):
    messages(1)

    call_command("process_queue")

    assert capsys.readouterr().out.startswith("Done: 1 claimed, 1 accepted, 0 fall")


@pytest.mark.django_db
def test_it_sends_no_more_than_it_is_told(route, capsys):
    messages(5)

    call_command("process_queue", "--max-messages=2", "--json")

    assert json.loads(capsys.readouterr().out)["claimed"] == 2


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--batch-size=0", "--batch-size must be at least 1."),
        ("--batch-size=51", "--batch-size must be at most 50."),
        ("--window=0", "--window must be at least 1."),
        ("--max-messages=-1", "--max-messages must be at least 1."),
    ],
)
def test_it_refuses_limits_that_make_no_sense(option, says):
    with pytest.raises(CommandError, match=says):
        call_command("process_queue", option)


@pytest.fixture
def installation(tmp_path, simulator, simulator_process):
    """An installation whose queue holds thirty messages."""
    installation = Installation(
        tmp_path,
        database_url=f"sqlite:///{tmp_path}/db.sqlite3",
        simulator_port=simulator_process.base_port,
    )
    recipients = tmp_path / "recipients.csv"
    rows = "".join(f"+1415555{number:04}\n" for number in range(30))
    recipients.write_text(f"phone\n{rows}")
    installation.run(
        *("send_campaign", "--channel=sms", "--name=T", "--body=Hi"),
        f"--recipients={recipients}",
    )
    return installation


def test_it_leaves_with_everything_sent_when_run_once(installation, simulator):
    report = json.loads(installation.run("process_queue", "--once", "--json"))

    assert report["accepted"] == 30
    assert simulator.state()["providers"]["TwilioSMS"]["accepted"] == 30


def test_sigterm_finishes_what_is_in_flight_records_it_and_leaves(
    installation, simulator
):
    simulator.set_fault("TwilioSMS", "slow", delay=0.5)
    worker = installation.start("process_queue", "--watch", "--window=10", "--json")
    wait_until(lambda: requests_to_twilio(simulator) >= 10)

    worker.send_signal(signal.SIGTERM)
    output, errors = worker.communicate(timeout=20)

    report = json.loads(output)
    assert worker.returncode == 0, errors
    assert report["claimed"] == report["accepted"] == requests_to_twilio(simulator)
    simulator.clear_faults()
    rest = json.loads(installation.run("process_queue", "--json"))
    assert report["accepted"] + rest["accepted"] == 30


def test_it_waits_for_work_when_it_watches(installation, simulator):
    worker = installation.start("process_queue", "--watch", "--json")
    try:
        wait_until(lambda: requests_to_twilio(simulator) == 30)
        assert worker.poll() is None
    finally:
        worker.terminate()
        worker.communicate(timeout=20)


def requests_to_twilio(simulator):
    return simulator.state()["providers"].get("TwilioSMS", {}).get("accepted", 0)
