"""Kills workers at random, at every step of their work, and replaces them."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import dataclass
from random import Random

from marketing_platform.testing.faults.fault_injection import POINTS
from marketing_platform.testing.faults.scenario import Scenario
from marketing_platform.testing.faults.worker_pool import Forked

FROM_OUTSIDE = "at any moment"
LATEST_PASSING = 5  # of a crash point
LONGEST_LIFE = 0.3  # seconds until a worker is killed from outside
LOOK_EVERY = 0.02


@dataclass(slots=True)
class Victim:
    """A worker, and how it will die."""

    worker: Forked
    end: str
    seconds_left: float
    works_since: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether it has run long enough to be killed from outside."""
        if self.end != FROM_OUTSIDE or self.works_since is None:
            return False
        return now - self.works_since >= self.seconds_left


def random_kills(
    scenario: Scenario, *, kills: int, workers: int, rng: Random
) -> Counter[str]:
    """Kill `kills` workers, or until nothing is left to send.

    Returns how many died at which step. Workers still alive then keep running.
    """
    deaths: Counter[str] = Counter()
    victims = [_start(scenario, rng) for _ in range(workers)]
    while deaths.total() < kills and scenario.messages("status = 0"):
        time.sleep(LOOK_EVERY)
        at_work = _pids_at_work(scenario)
        for nth, victim in enumerate(victims):
            if victim.works_since is None and victim.worker.group in at_work:
                victim.works_since = time.monotonic()
            if victim.is_due(time.monotonic()):
                victim.worker.signal(signal.SIGKILL)
                scenario.wait_for_death(victim.worker)
            if not victim.worker.is_running:
                deaths[victim.end] += 1
                victims[nth] = _start(scenario, rng)
    return deaths


def _start(scenario: Scenario, rng: Random) -> Victim:
    end = rng.choice([*POINTS, FROM_OUTSIDE])
    passing = rng.randint(1, LATEST_PASSING)
    crash = "" if end == FROM_OUTSIDE else f"{end}:{passing}"
    worker = scenario.environment.fork_worker(crash=crash)
    return Victim(worker, end, rng.uniform(0, LONGEST_LIFE))


def _pids_at_work(scenario: Scenario) -> set[int]:
    rows = scenario.database.rows("SELECT pid FROM messaging_workerheartbeat")
    return {pid for (pid,) in rows}
