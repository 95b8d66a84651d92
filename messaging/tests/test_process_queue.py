"""manage.py process_queue, as people run it."""

from __future__ import annotations

import json
import re
import signal
from datetime import UTC, datetime, time, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.utils import timezone

from marketing_platform.testing.installation import wait_until
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Suppression
from messaging.queue_status import waits
from messaging.tasks import drain_queue
from messaging.tests.scenario import MINUTE, messages
from messaging.vocabulary import CampaignStatus, SuppressionReason
from routing.dispatch import longest_call
from routing.factories import AttemptFactory
from routing.models import ProviderHealth, ProviderThrottle
from routing.rules.breaker import BreakerState
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

pytestmark = pytest.mark.long
HOUR = timedelta(hours=1)


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


def says(capsys):
    """What it prints after its counts."""
    call_command("process_queue")
    return capsys.readouterr().out.splitlines()[1:]


def breaker_is_open(provider):
    ProviderHealth.objects.create(
        provider=provider,
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        open_until=timezone.now() + 4 * MINUTE,
        reason="3 failures in a row",
    )


@pytest.mark.django_db
def test_it_says_that_breakers_are_open_since_when_and_after_which_error(route, capsys):
    messages(2)
    breaker_is_open("TwilioSMS")
    breaker_is_open("VonageSMS")
    AttemptFactory(
        message=MessageFactory(status=MessageStatus.FAILED),
        attempted_at=timezone.now(),
        outcome=AttemptOutcome.REJECTED,
        error_class=ErrorClass.ACCOUNT,
        error_code="20003",
        error_message="Authenticate",
    )

    waiting, error = says(capsys)

    assert waiting.startswith(
        "2 waiting: SMS is on hold: TwilioSMS and VonageSMS fail. Next try "
    )
    assert error == "Last error of TwilioSMS: Account 20003: Authenticate."


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("campaign", "fields", "line"),
    [
        (
            {"status": CampaignStatus.PAUSED, "name": "Sale"},
            {},
            r'1 waiting: campaign \d+ \("Sale"\) is paused: resume it\.',
        ),
        (
            {"status": CampaignStatus.DRAFT, "name": "Sale"},
            {},
            r'1 waiting: campaign \d+ \("Sale"\) is a draft: launch it\.',
        ),
        (
            {},
            {"due_at": datetime(2100, 1, 1, tzinfo=UTC)},
            r"1 waiting: scheduled for later\. Next try 2100-01-01 00:00:00 UTC\.",
        ),
        (
            {"quiet_from": time(0, 0), "quiet_until": time(23, 59, 59)},
            {},
            r"1 waiting: Quiet hours until 23:59 in .*\. Next try 20.* UTC\.",
        ),
        (
            {"channel": Channel.MMS},
            {"channel": Channel.MMS},
            r"1 waiting: There is no active route for MMS to US\. Next try 20.* UTC\.",
        ),
        (
            {},
            {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
            r"1 not sent: The message expired while it waited\.",
        ),
    ],
)
def test_it_says_why_nothing_left(route, capsys, campaign, fields, line):
    fields = {"country": "US"} | fields
    messages(1, campaign=CampaignFactory(**campaign), **fields)

    [printed] = says(capsys)

    assert re.fullmatch(line, printed)


@pytest.mark.django_db
def test_it_says_that_all_recipients_are_suppressed(route, capsys):
    for message in messages(3):
        Suppression.objects.create(
            address=message.recipient, reason=SuppressionReason.OPTED_OUT
        )

    assert says(capsys) == ["3 not sent: The address is suppressed."]
    assert says(capsys) == ["The queue is empty."]


@pytest.mark.django_db
def test_what_is_due_and_not_claimed_waits_for_the_rates_of_its_providers(route):
    messages(3)
    ProviderThrottle.objects.create(provider="TwilioSMS", rate_per_second=20)

    [wait] = waits(now=timezone.now())

    assert (wait.count.number, wait.next_at is not None) == (3, True)
    assert wait.reason.startswith("TwilioSMS takes 20 messages/s, ")


@pytest.mark.django_db
def test_it_says_why_it_ends_before_all_is_sent_as_json(route, capsys):
    messages(2)

    call_command("process_queue", "--max-messages=1", "--json")

    [wait] = json.loads(capsys.readouterr().out)["waiting"]
    assert (wait["count"], wait["reason"]) == (1, "due, and not claimed yet")


@pytest.mark.django_db
def test_it_sends_no_more_than_it_is_told(route, capsys):
    messages(5)

    call_command("process_queue", "--max-messages=2", "--json")

    assert json.loads(capsys.readouterr().out)["claimed"] == 2


@pytest.mark.parametrize("command", ["process_queue", "run_cluster"])
def test_no_worker_starts_with_a_lease_that_a_call_may_outlast(settings, command):
    settings.QUEUE_LEASE_SECONDS = longest_call().total_seconds()

    with pytest.raises(CommandError, match="sent twice"):
        call_command(command)


def test_nor_does_a_drain_of_the_cluster(settings):
    settings.QUEUE_LEASE_SECONDS = longest_call().total_seconds()

    with pytest.raises(ImproperlyConfigured, match="sent twice"):
        drain_queue()


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
def installation(tmp_path, installation):
    """An installation whose queue holds thirty messages."""
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
