"""Workers that are killed, terminated, or stopped for longer than their lease."""

from __future__ import annotations

import signal
import time

import pytest

from marketing_platform.testing.faults.environment import LEASE_SECONDS, SWEEP_SECONDS
from routing.vocabulary import Channel

# A busy machine is slow to start processes and to sweep; nothing is lost by that.
SLACK = 20
KILLS = 3


def row(number, point, done, holds):
    mark = pytest.mark.faults(row=number, done=f"kill -9 {done}", holds=holds)
    return pytest.param(point, marks=mark, id=point)


@pytest.mark.parametrize(
    "point",
    [
        row(
            *("1", "before_claim_commit", "before the claim commits"),
            "its rows are queued as before; none is unknown",
        ),
        row(
            *("2", "after_claim_commit", "after the claim, before any call"),
            "what was in flight is marked as unknown",
        ),
        row(
            *("3", "after_accept", "when a provider has just accepted a message"),
            "its receipt settles what could not be recorded",
        ),
        row(
            *("4", "before_record_commit", "before the results are committed"),
            "as 3",
        ),
        row(
            *("4b", "after_record_commit", "after the results are committed"),
            "what is recorded stays",
        ),
    ],
)
def test_killed_from_within(make_scenario, put_on_record, point):
    scenario = make_scenario(count=90)
    # At its second claim, a worker already has the first one's messages in flight.
    is_at_the_first = point == "before_claim_commit"
    passings = [1 if is_at_the_first else 1 + n // 2 for n in range(KILLS)]

    doomed = [scenario.start(crash=f"{point}:{passing}")[0] for passing in passings]
    for worker in doomed:
        scenario.wait_for_death(worker)
    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, kills=KILLS)
    assert verdict.is_clean
    assert verdict.recovered + verdict.flagged == verdict.unknown
    assert verdict.accepted + verdict.flagged >= 90
    if is_at_the_first:
        assert scenario.attempts("error_code = 'lost_worker'") == 0
    assert recovery.until_accounted < LEASE_SECONDS + SWEEP_SECONDS + SLACK


@pytest.mark.faults(
    row="3b",
    done="kill -9 while a provider that has accepted the messages is slow to "
    "answer, on a route that resends",
    holds="nothing is lost; only what was in flight is doubled, as the route chose",
)
def test_killed_in_mid_call_on_a_route_that_resends(make_scenario, put_on_record):
    scenario = make_scenario(count=40)
    scenario.route(unknown_outcome_policy=1)
    scenario.simulator.configure(receipts=False)
    scenario.simulator.set_fault("TwilioSMS", "slow", delay=30, count=10)

    (worker,) = scenario.start()
    scenario.wait_for_accepted(10)
    worker.signal(signal.SIGKILL)
    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, kills=1)
    assert (verdict.lost, verdict.silent, verdict.unrecorded) == (0, 0, 0)
    assert verdict.doubled <= verdict.unknown
    assert verdict.recovered == verdict.unknown > 0


@pytest.mark.parametrize(
    "kind",
    [
        row(
            *("3c", "slow", "during a call with ten e-mails, all accepted"),
            "each of the ten is unknown, looked up by itself, and not sent again",
        ),
        row(
            *("3d", "hang", "during a call with ten e-mails, none accepted"),
            "each of the ten is unknown, looked up by itself, and sent elsewhere",
        ),
    ],
)
def test_killed_in_a_call_with_many_messages(make_scenario, put_on_record, kind):
    scenario = make_scenario(count=60, channel=Channel.EMAIL)
    scenario.simulator.configure(receipts=False)
    slowly = {"delay": 30} if kind == "slow" else {}
    scenario.simulator.set_fault("SendGridEmail", kind, count=1, **slowly)

    (worker,) = scenario.start()
    scenario.wait_for_strikes("SendGridEmail")
    worker.signal(signal.SIGKILL)
    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, kills=1, calls=scenario.calls())
    assert verdict.is_clean
    assert verdict.unknown >= 10
    assert verdict.recovered + verdict.flagged == verdict.unknown
    assert verdict.accepted + verdict.flagged >= 60
    assert scenario.calls() < 60


@pytest.mark.faults(
    row="6",
    done="SIGTERM in the middle of a batch, as a deployment does",
    holds="what is in flight is finished and recorded; nothing is unknown",
)
def test_told_to_leave_in_a_batch(make_scenario, put_on_record):
    scenario = make_scenario(count=100)
    scenario.simulator.configure(latency=0.2)

    (worker,) = scenario.start()
    scenario.wait_for_accepted(1)
    started = time.monotonic()
    worker.stop()
    left_after = round(time.monotonic() - started, 1)
    still_sending = scenario.messages("status = 1")
    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, leaves_after=left_after)
    assert verdict.is_clean
    assert still_sending == 0
    assert verdict.accepted == 100


@pytest.mark.faults(
    row="7",
    done="SIGSTOP for two leases with calls in flight, then SIGCONT",
    holds="the late results are kept as late, and overwrite nothing",
)
def test_stopped_for_longer_than_the_lease(make_scenario, put_on_record):
    scenario = make_scenario(count=60)
    scenario.simulator.configure(latency=0.3, receipts=False)

    (frozen,) = scenario.start()
    scenario.wait_for_accepted(10)
    frozen.signal(signal.SIGSTOP)
    scenario.start()
    recovery = scenario.recover()
    time.sleep(max(0.0, 2 * LEASE_SECONDS - recovery.until_settled))
    frozen.signal(signal.SIGCONT)
    frozen.stop()
    verdict = scenario.verdict()
    late = scenario.attempts("is_late")
    put_on_record(verdict, recovery, late_results=late)
    assert verdict.is_clean
    assert verdict.unknown > 0
    assert late > 0
