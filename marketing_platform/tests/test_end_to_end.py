"""The whole system at work, as `make demo` runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

from marketing_platform.testing.families import descendants, is_running
from marketing_platform.testing.installation import wait_until

pytestmark = pytest.mark.long
DEMO = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo", "--json"]


@pytest.fixture
def start_demo(tmp_path, database):
    """Starts a demo in a state directory of its own."""
    started = []

    def start(*arguments):
        demo = subprocess.Popen(
            [*DEMO, f"--database-url={database.url}", *arguments],
            env=os.environ | {"STATE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(demo)
        return demo

    yield start
    for demo in started:
        if demo.poll() is None:
            demo.terminate()
            demo.communicate(timeout=60)


def test_a_campaign_survives_an_outage_with_every_message_accounted_for(start_demo):
    demo = start_demo("--messages=800")  # more than are sent before the outage

    output, errors = demo.communicate(timeout=120)

    summary = json.loads(output)
    assert demo.returncode == 0, errors
    assert sum(sum(each.values()) for each in summary["channels"].values()) == 800
    assert set(summary["channels"]) == {"SMS", "MMS", "Email"}
    assert summary["verdict"]["lost"] == summary["verdict"]["doubled"] == 0
    assert summary["verdict"]["on_handsets"] > 700
    assert summary["fallbacks"]["Provider unavailable"] > 0
    assert float(summary["cost"]["USD"]) > 0


def test_a_worker_killed_in_mid_campaign_loses_and_doubles_nothing(
    start_demo, database
):
    demo = start_demo("--messages=1000")
    drain = wait_until(lambda: drain_pid(database))

    os.kill(drain, signal.SIGKILL)
    output, errors = demo.communicate(timeout=150)

    summary = json.loads(output)
    assert demo.returncode == 0, errors
    assert not is_running(drain)
    assert summary["verdict"]["lost"] == summary["verdict"]["doubled"] == 0
    assert summary["verdict"]["unrecorded"] == 0


def test_a_demo_that_is_stopped_stops_all_it_started(start_demo, database, tmp_path):
    demo = start_demo("--messages=1000")
    wait_until(lambda: drain_pid(database))
    children = descendants(demo.pid)

    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=60)

    assert len(children) >= 3
    assert [pid for pid in children if is_running(pid)] == []
    assert list(tmp_path.glob("demo-*")) == []


def drain_pid(database):
    """The process that has messages in flight, if any."""
    query = (
        "SELECT pid FROM messaging_workerheartbeat JOIN messaging_campaignmessage "
        "ON lease_owner = owner LIMIT 1"
    )
    ((pid,),) = database.rows(query) or [(None,)]
    return pid
