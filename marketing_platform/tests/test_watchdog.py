"""A real cluster under its watchdog. More kills: `make test-faults`, row 5."""

from __future__ import annotations

import os
import re
import signal

import pytest

from marketing_platform.testing.families import descendants, is_running
from marketing_platform.testing.installation import wait_until
from routing.simulators.process import read_handset_log

pytestmark = pytest.mark.long


class WatchedCluster:
    """`manage.py run_cluster` with one worker, on an installation of its own."""

    def __init__(self, installation, directory, handset_log):
        self.installation = installation
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
        """The workers there have been, by their process ids."""
        ready = re.findall(r"ready for work at (\d+)", self.log.read_text())
        return [int(pid) for pid in ready]

    def send(self, recipient):
        self.recipients.write_text(f"phone\n{recipient}\n")
        self.installation.run(
            *("send_campaign", "--channel=sms", "--body=Hi"),
            f"--name=To {recipient}",
            f"--recipients={self.recipients}",
        )

    def wait_for(self, *recipients):
        """Until providers have taken these messages, and no others."""
        wait_until(lambda: self.accepted() == list(recipients), seconds=90)

    def accepted(self):
        entries = read_handset_log(self.handset_log)
        return [each.message.recipient for each in entries if each.event == "accepted"]

    def is_idle(self):
        """Whether its worker has done all tasks so far, and waits for the next."""
        told = self.log.read_text()
        return told.count(" processing ") == told.count(" Processed '")


@pytest.fixture
def cluster(tmp_path, installation, simulator_process):
    installation.environment |= {
        "QCLUSTER_WORKERS": "1",
        "QCLUSTER_PATIENCE_SECONDS": "15",
        "LOG_LEVEL": "INFO",
    }
    log = simulator_process.handset_log
    with WatchedCluster(installation, tmp_path, log) as watched:
        yield watched


def test_a_stalled_cluster_is_started_again_and_leaves_with_all_its_processes(cluster):
    cluster.send("+14155550001")
    cluster.wait_for("+14155550001")
    wait_until(cluster.is_idle)

    os.kill(cluster.workers()[-1], signal.SIGKILL)  # with the task queue's lock
    cluster.send("+14155550002")
    cluster.wait_for("+14155550001", "+14155550002")
    cluster.stop()

    assert "shows no sign of life: it is started again" in cluster.log.read_text()
    assert cluster.process.returncode == 0
    assert not any(map(is_running, cluster.workers()))


def test_nothing_of_a_cluster_outlives_its_watchdog_and_first_process(cluster):
    first = os.getpgid(cluster.workers()[-1])
    family = [first, *wait_until(lambda: all_of(first))]
    cluster.process.kill()

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: not any(map(is_running, family)), seconds=30)


def all_of(first):
    """The guard, worker, monitor and pusher, once they are all there."""
    found = descendants(first)
    return found if len(found) >= 4 else None


def test_a_cluster_whose_watchdog_was_killed_leaves_by_itself(cluster):
    cluster.process.kill()

    wait_until(lambda: "has stopped" in cluster.log.read_text())
    assert "watchdog is gone" in cluster.log.read_text()
