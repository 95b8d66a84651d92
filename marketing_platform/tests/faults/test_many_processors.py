"""Several processors at once, wrong clocks, and a message that kills its workers."""

from __future__ import annotations

import os

import pytest

MANY = int(os.environ.get("FAULTS_MESSAGES", "600"))


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(
            count,
            marks=pytest.mark.faults(
                row=number,
                done=f"{count} processors start at once on one queue",
                holds="each message is claimed once; all are sent",
            ),
        )
        for number, count in (("27", 2), ("27b", 8))
    ],
)
def test_processors_at_once(make_scene, put_on_record, count):
    scene = make_scene(count=MANY)
    scene.simulator.configure(receipts=False)

    scene.start(count)
    recovery = scene.recover(seconds=120)

    verdict = scene.verdict()
    put_on_record(verdict, recovery)
    assert verdict.is_clean
    assert verdict.accepted == MANY


@pytest.mark.faults(
    row="29",
    done="a message kills every worker that hands it over, on a route that resends",
    holds="it is given up after three dead workers; all others are sent",
)
def test_a_message_that_kills_its_workers(make_scene, put_on_record):
    scene = make_scene(count=40)
    scene.route(unknown_outcome_policy=1, max_retries=20)
    poison = scene.acknowledged[0]

    deaths = 0
    while scene.messages(f"recipient = '{poison}' AND status IN (0, 1)"):
        (worker,) = scene.start(crash="before_send", recipient=poison)
        scene.wait_for_death_or_end(worker, poison)
        deaths += not worker.is_running
    recovery = scene.recover()

    verdict = scene.verdict()
    put_on_record(verdict, recovery, dead_workers=deaths)
    assert verdict.lost == verdict.silent == 0
    assert verdict.accepted == 39
    assert deaths == 3


@pytest.mark.faults(
    row="24",
    done="one of three workers believes that it is an hour later, one an hour earlier",
    holds="no lease runs out early, nothing is sent before its time or twice",
)
def test_clocks_that_are_wrong(make_scene, put_on_record):
    scene = make_scene(count=200)
    scene.simulator.configure(latency=0.3)

    for clock in (0.0, 3600.0, -3600.0):
        scene.start(clock=clock)
    recovery = scene.recover()

    verdict = scene.verdict()
    put_on_record(verdict, recovery)
    assert verdict.is_clean
    assert verdict.accepted == 200
