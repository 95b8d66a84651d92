"""Several workers at once, wrong clocks, and a message that kills its workers."""

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
                done=f"{count} workers start at once on one queue",
                holds="each message is claimed once; all are sent",
            ),
        )
        for number, count in (("27", 2), ("27b", 8))
    ],
)
def test_processors_at_once(make_scenario, put_on_record, count):
    scenario = make_scenario(count=MANY)
    scenario.simulator.configure(receipts=False)

    scenario.start(count)
    recovery = scenario.recover(seconds=120)

    verdict = scenario.verdict()
    put_on_record(verdict, recovery)
    assert verdict.is_clean
    assert verdict.accepted == MANY


@pytest.mark.faults(
    row="29",
    done="a message kills every worker that sends it, on a route that resends",
    holds="it is given up after three dead workers; all others are sent",
)
def test_a_message_that_kills_its_workers(make_scenario, put_on_record):
    scenario = make_scenario(count=40)
    scenario.route(unknown_outcome_policy=1, max_retries=20)
    poison = scenario.acknowledged[0]

    deaths = 0
    while scenario.messages(f"recipient = '{poison}' AND status IN (0, 1)"):
        (worker,) = scenario.start(crash="before_send", recipient=poison)
        scenario.wait_for_death_or_end(worker, poison)
        deaths += not worker.is_running
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, dead_workers=deaths)
    assert verdict.lost == verdict.silent == 0
    assert verdict.accepted == 39
    assert deaths == 3


@pytest.mark.faults(
    row="24",
    done="of three workers, one has a clock an hour fast, one an hour slow",
    holds="no lease runs out early, nothing is sent before its time or twice",
)
def test_clocks_that_are_wrong(make_scenario, put_on_record):
    scenario = make_scenario(count=200)
    scenario.simulator.configure(latency=0.3)

    for clock in (0.0, 3600.0, -3600.0):
        scenario.start(clock=clock)
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery)
    assert verdict.is_clean
    assert verdict.accepted == 200
