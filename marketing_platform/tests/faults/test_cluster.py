"""A django-q2 cluster under its watchdog; its processes are killed one by one."""

from __future__ import annotations

import os
import signal

import pytest

from marketing_platform.testing.families import children, descendants, is_running
from marketing_platform.testing.installation import wait_until

WITHIN = 90  # seconds without delivery, at most
# The guard is the only child of the cluster's first process; it starts these in turn.
ROLES = ["worker", "monitor", "pusher"]
EACH = pytest.mark.parametrize("role", ["guard", *ROLES])
BACKSTOP_DONE = "SELECT 1 FROM django_q_task WHERE success"
TIMED_OUT = "SELECT 1 FROM django_q_task WHERE NOT success"
HOLDS = "a new cluster sends the rest within 90 s; none is lost or doubled"


def processes_of(watchdog):
    """The cluster's processes by role, once all are running."""
    (first,) = wait_until(lambda: children(watchdog.group))
    (guard,) = wait_until(lambda: children(first))
    family = wait_until(
        lambda: found if len(found := children(guard)) == len(ROLES) else None
    )
    return {"guard": guard, **dict(zip(ROLES, family, strict=True))}


@pytest.fixture
def start_cluster(environment):
    """Starts `manage.py run_cluster`, and returns its processes by role.

    Afterwards it kills the watchdog, and its cluster must end with it.
    """
    watchdogs = []

    def start():
        watchdogs.append(environment.start_worker(command=["run_cluster"]))
        return processes_of(watchdogs[-1])

    yield start
    family = [pid for watchdog in watchdogs for pid in descendants(watchdog.group)]
    environment.end()
    wait_until(lambda: not any(map(is_running, family)))


@pytest.mark.faults(
    row="5", done="kill -9 a process of an idle django-q2 cluster", holds=HOLDS
)
@EACH
def test_killed_in_an_idle_cluster(make_scenario, start_cluster, put_on_record, role):
    scenario = make_scenario(count=90)
    scenario.due("2099-01-01")
    family = start_cluster()
    wait_until(lambda: scenario.database.rows(BACKSTOP_DONE))  # then all are idle

    os.kill(family[role], signal.SIGKILL)
    scenario.due("2026-01-01")
    recovery = scenario.recover(seconds=WITHIN)

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, kills=1)
    assert verdict.is_clean
    assert (verdict.accepted, verdict.unknown) == (90, 0)


@pytest.mark.faults(
    row="5b", done="kill -9 a process of a busy django-q2 cluster", holds=HOLDS
)
@pytest.mark.long_form
@EACH
def test_killed_in_a_busy_cluster(make_scenario, start_cluster, put_on_record, role):
    scenario = make_scenario(count=400)
    scenario.simulator.configure(latency=0.5)
    family = start_cluster()
    scenario.wait_for_accepted(20)

    os.kill(family[role], signal.SIGKILL)
    recovery = scenario.recover(seconds=WITHIN)

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, kills=1)
    assert verdict.is_clean
    assert verdict.accepted + verdict.flagged >= 400


@pytest.mark.faults(
    row="8",
    done="django-q2's time-out strikes a drain that has calls in flight",
    holds="none of its calls has failed: each is unknown until settled; the "
    "rest is sent",
)
def test_a_drain_that_times_out(make_scenario, start_cluster, put_on_record):
    scenario = make_scenario(count=500)
    scenario.simulator.configure(latency=0.8)
    family = start_cluster()
    scenario.wait_for_accepted(20)

    os.kill(family["worker"], signal.SIGALRM)
    wait_until(lambda: scenario.database.rows(TIMED_OUT))
    recovery = scenario.recover(seconds=WITHIN)

    verdict = scenario.verdict()
    put_on_record(verdict, recovery)
    assert verdict.is_clean
    assert verdict.accepted + verdict.flagged >= 500
