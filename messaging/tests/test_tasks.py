"""What the cluster runs: the task itself, and a real cluster that runs it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from django.conf import settings

from marketing_platform.testing.installation import NOWHERE
from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage, WorkerHeartbeat
from messaging.tasks import drain_queue
from messaging.tests.scenario import messages
from routing.factories import RouteFactory
from routing.models import MessageDeliveryAttempt
from routing.providers.base import ProviderError, RecipientError
from routing.providers.registry import registry
from routing.simulators.process import read_handset_log
from routing.vocabulary import MessageStatus

PATIENCE = 30  # seconds that a condition may take to come true
COMMAND_SECONDS = 60


@pytest.mark.django_db(transaction=True)
def test_draining_sends_what_is_due_and_reports_it(route):
    due = messages(3)

    report = drain_queue()

    assert report["claimed"] == report["accepted"] == 3
    assert set(report) >= {"fallbacks", "retries", "unknown", "failed", "recovered"}
    sent = {message.recipient for message in registry.get("TwilioSMS").outbox}
    assert sent == {message.recipient for message in due}
    assert CampaignMessage.objects.filter(status=MessageStatus.SENT).count() == 3


@pytest.mark.django_db(transaction=True)
def test_draining_reports_what_did_not_go_well(route):
    messages(2)
    registry.get("TwilioSMS").fail_with(ProviderError(), RecipientError())

    report = drain_queue()

    assert (report["fallbacks"], report["failed"], report["accepted"]) == (1, 1, 1)
    assert MessageDeliveryAttempt.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_draining_twice_sends_once(route):
    messages(1)
    drain_queue()

    report = drain_queue()

    assert report["claimed"] == 0
    assert len(registry.get("TwilioSMS").outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_draining_leaves_no_sign_of_life_and_no_signal_handler(route):
    before = signal.getsignal(signal.SIGTERM)

    drain_queue()

    assert signal.getsignal(signal.SIGTERM) is before
    assert not WorkerHeartbeat.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_draining_goes_over_the_wire_of_the_simulators(simulator, simulator_process):
    RouteFactory()
    messages(2, campaign=CampaignFactory(body="From the cluster"))

    drain_queue()

    log = list(read_handset_log(simulator_process.handset_log))
    accepted = [each.message for each in log if each.event == "accepted"]
    assert [each.body for each in accepted] == ["From the cluster"] * 2


class Installation:
    """The project on a SQLite file of its own, driven as an operator does."""

    def __init__(self, directory, simulator_port):
        self.database = directory / "db.sqlite3"
        self.log = directory / "cluster.log"
        self.environment = os.environ | {
            "STATE_DIR": str(directory),
            "DATABASE_URL": f"sqlite:///{self.database}",
            "DATABASE_URL_FILE": "",
            "REDIS_URL": "",
            "PROVIDER_SIMULATOR_PORT": str(simulator_port),
            "PUBLIC_URL": NOWHERE,
            "QCLUSTER_WORKERS": "1",
            "LOG_LEVEL": "WARNING",
        }

    def command(self, *arguments):
        return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]

    def manage(self, *arguments):
        subprocess.run(
            self.command(*arguments),
            env=self.environment,
            check=True,
            capture_output=True,
            timeout=COMMAND_SECONDS,
        )

    def start_cluster(self):
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self.command("qcluster"),
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def statuses(self):
        with sqlite3.connect(self.database, timeout=10) as database:
            rows = database.execute("SELECT status FROM messaging_campaignmessage")
            return [status for (status,) in rows]

    def launch(self, count):
        """A campaign of so many messages, due at once."""
        path = self.database.with_name("phones.csv")
        numbers = (f"+1415555{number:04}" for number in range(100, 100 + count))
        path.write_text("\n".join(["phone", *numbers]))
        self.manage(
            "send_campaign",
            "--channel=sms",
            "--name=From a file",
            "--body=Hello",
            f"--recipients={path}",
        )


@pytest.fixture
def installation(tmp_path, simulator, simulator_process):
    """Migrated, with the default routes."""
    installed = Installation(tmp_path, simulator_process.base_port)
    installed.manage("migrate", "--verbosity=0")
    installed.manage("loaddata", "default_routes")
    return installed


@pytest.fixture
def cluster(installation):
    """`manage.py qcluster` at work; whatever is left of it afterwards is killed."""
    process = installation.start_cluster()
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def wait_for(condition, *, log):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def is_session_over(process):
    """Whether no process of the session is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def accepted(simulator_process):
    """The recipients of all messages that the simulated providers took."""
    log = read_handset_log(simulator_process.handset_log)
    return [each.message.recipient for each in log if each.event == "accepted"]


def test_a_real_cluster_sends_a_campaign_once_each(
    installation, cluster, simulator_process
):
    installation.launch(20)

    wait_for(
        lambda: installation.statuses() == [MessageStatus.SENT] * 20,
        log=installation.log,
    )

    assert len(set(accepted(simulator_process))) == 20
    assert len(accepted(simulator_process)) == 20


@pytest.mark.parametrize("tell", [os.kill, os.killpg], ids=["process", "group"])
def test_a_real_cluster_leaves_at_once_with_nothing_in_flight(
    installation, cluster, simulator, simulator_process, tell
):
    simulator.configure(latency=0.5, receipts=False)
    installation.launch(3000)  # more than half a minute's work
    wait_for(lambda: accepted(simulator_process), log=installation.log)

    started = time.monotonic()
    tell(cluster.pid, signal.SIGTERM)
    cluster.wait(PATIENCE)

    assert time.monotonic() - started < 10
    wait_for(lambda: is_session_over(cluster), log=installation.log)
    sent = installation.statuses().count(MessageStatus.SENT)
    assert set(installation.statuses()) == {MessageStatus.QUEUED, MessageStatus.SENT}
    assert sent == len(accepted(simulator_process))
    assert "Traceback" not in installation.log.read_text()
