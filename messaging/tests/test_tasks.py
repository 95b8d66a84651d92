"""What the cluster runs: the task itself, and a real cluster that runs it."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from marketing_platform.testing.installation import MANAGE, wait_until
from messaging.cluster.child_process import Child
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

pytestmark = pytest.mark.long


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


class RealCluster:
    """`manage.py qcluster` with one worker, in a session of its own."""

    def __init__(self, installation, database, directory):
        self.log = directory / "cluster.log"
        self._recipients = directory / "phones.csv"
        self._installation = installation
        self._database = database
        self.process = Child(
            "cluster",
            [sys.executable, MANAGE, "qcluster"],
            log=self.log,
            environment=installation.environment | {"QCLUSTER_WORKERS": "1"},
        )

    def launch(self, count):
        """Launch a campaign of this many messages, due at once."""
        numbers = (f"+1415555{number:04}" for number in range(100, 100 + count))
        self._recipients.write_text("\n".join(["phone", *numbers]))
        self._installation.run(
            *("send_campaign", "--channel=sms", "--name=From a file", "--body=Hello"),
            f"--recipients={self._recipients}",
        )

    def statuses(self):
        rows = self._database.rows("SELECT status FROM messaging_campaignmessage")
        return [status for (status,) in rows]

    def is_gone(self):
        """Whether no process of its session is left."""
        try:
            os.killpg(self.process.group, 0)
        except ProcessLookupError:
            return True
        return False


@pytest.fixture
def cluster(installation, database, tmp_path):
    """A running cluster; whatever is left of it afterwards is killed."""
    real = RealCluster(installation, database, tmp_path)
    real.process.start()
    yield real
    real.process.kill()


def accepted(simulator_process):
    """The recipients of all messages that the simulated providers accepted."""
    log = read_handset_log(simulator_process.handset_log)
    return [each.message.recipient for each in log if each.event == "accepted"]


def test_a_real_cluster_sends_a_campaign_once_each(cluster, simulator_process):
    cluster.launch(20)

    wait_until(lambda: cluster.statuses() == [MessageStatus.SENT] * 20)

    assert len(set(accepted(simulator_process))) == 20
    assert len(accepted(simulator_process)) == 20


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["process", "group"])
def test_a_real_cluster_leaves_at_once_with_nothing_in_flight(
    cluster, simulator, simulator_process, kill
):
    simulator.configure(latency=0.5, receipts=False)
    cluster.launch(3000)  # more than half a minute's work
    wait_until(lambda: accepted(simulator_process))

    kill(cluster.process.group, signal.SIGTERM)
    wait_until(lambda: not cluster.process.is_running, seconds=10)

    wait_until(cluster.is_gone)
    sent = cluster.statuses().count(MessageStatus.SENT)
    assert set(cluster.statuses()) == {MessageStatus.QUEUED, MessageStatus.SENT}
    assert sent == len(accepted(simulator_process))
    assert "Traceback" not in cluster.log.read_text()
