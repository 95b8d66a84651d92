"""FAULTS_KILLS kills at random steps."""

from __future__ import annotations

import os
from collections import Counter
from functools import reduce
from operator import add
from random import Random

import pytest

from marketing_platform.testing.faults.random_kills import random_kills

KILLS = int(os.environ.get("FAULTS_KILLS", "20"))
WORKERS = 4
MESSAGES_PER_ROUND = 1000


@pytest.mark.faults(
    row="1-4",
    done=f"{WORKERS} workers are killed at random steps and moments, and replaced",
    holds="nothing lost, doubled or denied; what is unknown is marked as unknown",
)
def test_random_kills(make_scenario, put_on_record):
    rng = Random(20261125)
    deaths, verdicts = Counter(), []

    while deaths.total() < KILLS:
        scenario = make_scenario(count=MESSAGES_PER_ROUND)
        scenario.simulator.configure(latency=0.2)
        deaths += random_kills(
            scenario, kills=KILLS - deaths.total(), workers=WORKERS, rng=rng
        )
        scenario.start()
        recovery = scenario.recover(seconds=300)
        verdicts.append(scenario.verdict())
        scenario.environment.end()

    verdict = reduce(add, verdicts)
    steps = len(deaths)
    put_on_record(verdict, recovery, kills=deaths.total(), steps=steps)
    assert verdict.is_clean
    assert verdict.recovered + verdict.flagged == verdict.unknown
