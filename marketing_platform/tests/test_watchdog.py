"""A real cluster under its watchdog. `make test-faults`, row 5, has more kills."""

from __future__ import annotations

import os
import re
import signal

import pytest

from marketing_platform.testing.families import children, descendants, is_running
from marketing_platform.testing.installation import wait_until
from routing.simulators.process import read_handset_log
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.long


class WatchedCluster:
    """`manage.py run_cluster` with one worker, on an installation of its own."""

    def __init__(self, installation, database, directory, handset_log):
        self.installation = installation
        self.database = database
        self.recipients = directory / "recipients.csv"
        self.handset_log = handset_log
        self.log = directory / "cluster.log"

    def __enter__(self):
        with self.log.open("ab") as log:
            self.process = self.installation.start("run_cluster", log=log)
        wait_until(self.workers)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        self.process.communicate(timeout=90)

    def workers(self):
        """The workers that there have been, by their process ids."""
        ready = re.findall(r"ready for work at (\d+)", self.log.read_text())
        return [int(pid) for pid in ready]

    def family(self):
        """First process, guard, worker, monitor and pusher, once they are all there."""
        return wait_until(lambda: self._at_least(5))

    def _at_least(self, count):
        found = descendants(self.process.pid)
        return found if len(found) >= count else None

    def send(self, *recipients):
        self.recipients.write_text("\n".join(["phone", *recipients]))
        self.installation.run(
            *("send_campaign", "--channel=sms", "--body=Hi"),
            f"--name=To {recipients[0]}",
            f"--recipients={self.recipients}",
        )

    def send_for_long(self):
        """More than half a minute's work, which is under way."""
        self.send(*(f"+1415555{number}" for number in range(1000, 4000)))
        wait_until(self.accepted)

    def wait_for(self, *recipients):
        """Until providers have accepted these messages, and no others."""
        wait_until(lambda: self.accepted() == list(recipients), seconds=90)

    def accepted(self):
        entries = read_handset_log(self.handset_log)
        return [each.message.recipient for each in entries if each.event == "accepted"]

    def is_idle(self):
        """Whether its worker has finished all tasks, and waits for the next."""
        told = self.log.read_text()
        return told.count(" processing ") == told.count(" Processed '")

    def assert_nothing_was_in_flight(self):
        rows = self.database.rows("SELECT status FROM messaging_campaignmessage")
        statuses = [status for (status,) in rows]
        assert set(statuses) == {MessageStatus.QUEUED, MessageStatus.SENT}
        assert statuses.count(MessageStatus.SENT) == len(self.accepted())
        assert len(set(self.accepted())) == len(self.accepted())


@pytest.fixture
def cluster(tmp_path, installation, database, simulator, simulator_process):
    installation.environment |= {
        "QCLUSTER_WORKERS": "1",
        "QCLUSTER_PATIENCE_SECONDS": "15",
        "LOG_LEVEL": "INFO",
    }
    simulator.configure(latency=0.5, receipts=False)
    log = simulator_process.handset_log
    with WatchedCluster(installation, database, tmp_path, log) as watched:
        yield watched


def test_a_stalled_cluster_is_started_again(cluster):
    cluster.send("+14155550001")
    cluster.wait_for("+14155550001")
    wait_until(cluster.is_idle)

    os.kill(cluster.workers()[-1], signal.SIGKILL)  # with the task queue's lock
    cluster.send("+14155550002")
    cluster.wait_for("+14155550001", "+14155550002")

    assert "shows no sign of life: it is started again" in cluster.log.read_text()


@pytest.mark.parametrize("is_whole_group_told", [False, True])
def test_a_cluster_leaves_at_once_with_nothing_in_flight(cluster, is_whole_group_told):
    family = cluster.family()
    cluster.send_for_long()

    if is_whole_group_told:
        os.killpg(os.getpgid(family[0]), signal.SIGTERM)
    cluster.process.terminate()
    wait_until(lambda: cluster.process.poll() is not None, seconds=10)

    assert cluster.process.returncode == 0
    assert not any(map(is_running, family))
    assert "Traceback" not in cluster.log.read_text()
    cluster.assert_nothing_was_in_flight()


@pytest.mark.parametrize("killed", ["", "first process", "guard"])
def test_a_cluster_finishes_what_is_in_flight_when_its_watchdog_is_killed(
    cluster, killed
):
    family = cluster.family()
    (first,) = children(cluster.process.pid)
    also = {"first process": [first], "guard": children(first)}
    cluster.send_for_long()

    for pid in [cluster.process.pid, *also.get(killed, [])]:
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: not any(map(is_running, family)), seconds=10)
    cluster.assert_nothing_was_in_flight()


@pytest.mark.parametrize("is_guard_first", [True, False])
def test_nothing_is_left_of_an_idle_cluster_killed_from_two_ends(
    cluster, is_guard_first
):
    family = cluster.family()
    (first,) = children(cluster.process.pid)
    killed = [*children(first), cluster.process.pid]
    os.kill(cluster.process.pid, signal.SIGSTOP)  # it would start another cluster

    for pid in killed if is_guard_first else reversed(killed):
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: not any(map(is_running, family)), seconds=10)
