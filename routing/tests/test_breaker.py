"""Whether a provider may be used now."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from routing.rules.breaker import (
    LIMITS,
    Breaker,
    BreakerLimits,
    BreakerState,
    Bucket,
    Outcomes,
    ProbeResult,
    admission,
    begin_probe,
    describe,
    end_probe,
    from_row,
    is_healthy,
    may_probe,
    observe,
    opened_count,
    return_rate,
    to_row,
    with_success,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=40)


def observed(breaker, successes=0, failures=0, account=0, *, at=NOW, last=False):
    return observe(
        breaker,
        Outcomes(successes, failures, account),
        now=at,
        rng=Random(0),
        is_last_eligible=last,
    )


def opened(*, at=NOW, **columns):
    return observed(Breaker(**columns), failures=5, at=at)


def probed(breaker, *results, at):
    """The breaker after these probes, one after the other."""
    for is_success in results:
        breaker = begin_probe(breaker, at, LEASE)
        breaker = end_probe(
            breaker,
            ProbeResult(breaker.probe_until, is_success),
            now=at,
            rng=Random(0),
        )
    return breaker


def test_a_new_breaker_lets_all_traffic_pass():
    assert admission(Breaker(), NOW) == 1.0
    assert not may_probe(Breaker(), NOW)


@pytest.mark.parametrize(
    ("batches", "reason"),
    [
        ([(0, 5)], "5 failures in a row"),
        ([(0, 3), (0, 2)], "5 failures in a row"),
        ([(10, 10)], "10 of 20 calls failed"),
        ([(10, 4), (1, 7)], "11 of 22 calls failed"),
        ([(100, 0, 1)], "the provider refuses our account"),
    ],
)
def test_it_opens_on_a_run_a_rate_or_a_refused_account(batches, reason):
    breaker = Breaker()
    for batch in batches:
        breaker = observed(breaker, *batch)

    assert breaker.state == BreakerState.OPEN
    assert breaker.reason == reason
    assert admission(breaker, NOW) == 0.0


@pytest.mark.parametrize(
    "batches",
    [
        [(0, 4)],
        [(0, 4), (1, 0), (0, 4)],
        [(9, 10)],
        [(11, 10)],
        [(10, 4), (0, 0), (4, 4)],
    ],
)
def test_it_stays_closed_below_its_limits(batches):
    breaker = Breaker()
    for batch in batches:
        breaker = observed(breaker, *batch)

    assert breaker.state == BreakerState.CLOSED


def test_failures_are_forgotten_after_a_minute():
    breaker = observed(Breaker(), 9, 10)

    sooner = observed(breaker, 1, 1, at=NOW + 59 * SECOND)
    later = observed(breaker, 1, 1, at=NOW + MINUTE)

    assert sooner.state == BreakerState.OPEN
    assert [bucket.failures for bucket in later.buckets] == [1]


def test_a_count_from_a_clock_that_ran_ahead_is_forgotten_too():
    breaker = observed(Breaker(), 10, 9, at=NOW + timedelta(hours=1))

    assert len(observed(breaker, 1, at=NOW).buckets) == 1


def test_a_clock_that_is_set_back_keeps_no_provider_out_of_use():
    opened = observed(Breaker(), 0, 5, at=NOW + timedelta(hours=1))
    closed = Breaker(closed_at=NOW + timedelta(hours=1))

    assert may_probe(opened, NOW)
    assert return_rate(closed, NOW) is None


def test_good_news_never_opens_it():
    failing = observed(Breaker(), 30, 40, last=True)

    assert failing.state == BreakerState.CLOSED
    assert observed(failing, 1).state == BreakerState.CLOSED


@pytest.mark.parametrize("batch", [(1, 50), (10, 40), (0, 0, 1), (0, 0, 4)])
def test_the_last_eligible_provider_stays_in_use_and_says_so(batch):
    breaker = observed(Breaker(), *batch, last=True)

    assert admission(breaker, NOW) == 1.0
    assert breaker.is_last_way_out
    assert breaker.is_failing
    assert observed(breaker, 1).reason == ""


@pytest.mark.parametrize("batch", [(0, 5), (0, 0, 5), (0, 4, 1)])
def test_the_last_eligible_provider_opens_too_if_no_call_succeeds(batch):
    breaker = observed(Breaker(), *batch, last=True)

    assert admission(breaker, NOW) == 0.0
    assert breaker.out_since == NOW


def test_a_success_keeps_the_last_eligible_provider_in_use_for_a_minute():
    breaker = observed(Breaker(), 1, 9, last=True)

    assert observed(breaker, 0, 9, at=NOW + 49 * SECOND, last=True).is_closed
    assert not observed(breaker, 0, 9, at=NOW + MINUTE, last=True).is_closed


def test_a_success_of_a_call_under_way_shows_that_the_last_one_opened_without_cause():
    breaker = observed(Breaker(), 0, 5, last=True)

    soon = observed(breaker, 1, at=NOW + SECOND, last=True)

    assert admission(soon, NOW + SECOND) == 1.0
    assert return_rate(soon, NOW + SECOND) is None
    assert observed(soon, 0, 24, at=NOW + SECOND, last=True).is_last_way_out
    assert observed(breaker, 1, at=NOW + 10 * SECOND, last=True) is breaker
    assert observed(breaker, 1, at=NOW + SECOND) is breaker


def test_messages_refused_for_unknown_reasons_do_not_open_the_last_eligible_one():
    refused = Outcomes(unmapped=9)

    last, other = (
        observe(Breaker(), refused, now=NOW, rng=Random(0), is_last_eligible=last)
        for last in (True, False)
    )

    assert last.is_last_way_out
    assert other.state == BreakerState.OPEN


def test_one_good_probe_closes_the_last_eligible_one():
    probing = begin_probe(opened(), NOW + MINUTE, LEASE)
    good = ProbeResult(probing.probe_until, True)

    closed = end_probe(
        probing, good, now=NOW + MINUTE, rng=Random(0), is_last_eligible=True
    )

    assert closed.is_closed
    assert closed.reason == "a probe succeeded"


def test_it_remembers_since_when_and_for_which_error_it_is_out_of_use():
    breaker = observe(
        Breaker(),
        Outcomes(failures=5, error="503"),
        now=NOW,
        rng=Random(0),
        is_last_eligible=False,
    )
    probing = begin_probe(breaker, NOW + MINUTE, LEASE)
    bad = ProbeResult(probing.probe_until, False, "refused")

    still_out = end_probe(probing, bad, now=NOW + MINUTE, rng=Random(0))

    assert (breaker.out_since, breaker.last_error) == (NOW, "503")
    assert (still_out.out_since, still_out.last_error) == (NOW, "refused")
    back = probed(still_out, True, True, True, at=NOW + 2 * MINUTE)
    assert (back.out_since, back.last_error) == (None, "")


@pytest.mark.parametrize(
    ("seconds", "rate"), [(0, 1), (4.9, 1), (5, 2), (20, 20), (44, 500), (45, None)]
)
def test_where_it_is_the_only_one_its_traffic_comes_back_at_a_growing_rate(
    seconds, rate
):
    closed = Breaker(closed_at=NOW)

    assert return_rate(closed, NOW + seconds * SECOND) == rate
    assert return_rate(Breaker(), NOW) is None


def test_what_was_handed_over_before_it_opened_changes_nothing():
    breaker = opened()

    assert observed(breaker, 100, at=NOW + SECOND) is breaker
    assert observed(breaker, 0, 100, at=NOW + SECOND) is breaker


@pytest.mark.parametrize(
    ("opened_count", "longest"), [(0, 5), (1, 10), (2, 20), (5, 160), (6, 300)]
)
def test_it_opens_for_longer_each_time_up_to_five_minutes(opened_count, longest):
    for seed in range(20):
        breaker = observe(
            Breaker(opened_count=opened_count),
            Outcomes(failures=5),
            now=NOW,
            rng=Random(seed),
            is_last_eligible=False,
        )

        assert longest / 2 <= (breaker.open_until - NOW).total_seconds() <= longest
        assert breaker.opened_count == min(opened_count + 1, 6)


def test_one_probe_at_a_time_goes_out_once_the_open_time_is_over():
    breaker = opened()

    assert begin_probe(breaker, NOW, LEASE) is None
    probing = begin_probe(breaker, breaker.open_until, LEASE)

    assert probing.state == BreakerState.HALF_OPEN
    assert admission(probing, NOW + MINUTE) == 0.0
    assert begin_probe(probing, breaker.open_until + SECOND, LEASE) is None


def test_the_lease_of_a_dead_prober_runs_out_and_it_is_not_heard_any_more():
    breaker = opened()
    dead = begin_probe(breaker, breaker.open_until, LEASE)

    heir = begin_probe(dead, dead.probe_until, LEASE)
    late = end_probe(heir, ProbeResult(dead.probe_until, False), now=NOW, rng=Random(0))

    assert heir.probe_until == dead.probe_until + LEASE
    assert late is heir


def test_a_late_probe_is_heard_while_no_other_has_begun():
    breaker = opened()
    probing = begin_probe(breaker, breaker.open_until, LEASE)

    late = end_probe(
        probing,
        ProbeResult(probing.probe_until, True),
        now=probing.probe_until + MINUTE,
        rng=Random(0),
    )

    assert late.probe_successes == 1


def test_a_probe_of_a_closed_breaker_changes_nothing():
    breaker = Breaker()

    assert (
        end_probe(breaker, ProbeResult(NOW, False), now=NOW, rng=Random(0)) is breaker
    )


def test_three_good_probes_close_it():
    later = NOW + MINUTE

    assert probed(opened(), True, True, at=later).state == BreakerState.HALF_OPEN
    closed = probed(opened(), True, True, True, at=later)

    assert closed.state == BreakerState.CLOSED
    assert closed.reason == "3 probes succeeded"
    assert closed.closed_at == later


def test_a_probe_that_tells_nothing_leaves_the_count_as_it_was():
    breaker = probed(opened(), True, None, at=NOW + MINUTE)

    assert breaker.probe_successes == 1
    assert may_probe(breaker, NOW + MINUTE)


def test_a_bad_probe_opens_it_for_longer():
    later = NOW + MINUTE

    breaker = probed(opened(), True, True, False, at=later)

    assert breaker.state == BreakerState.OPEN
    assert breaker.reason == "the probe failed"
    assert breaker.opened_count == 2
    assert timedelta(seconds=5) <= breaker.open_until - later <= timedelta(seconds=10)


@pytest.mark.parametrize(
    ("seconds", "share"),
    [(-5, 0.25), (0, 0.25), (29, 0.25), (30, 0.5), (59, 0.5), (60, 1.0), (9999, 1.0)],
)
def test_traffic_comes_back_in_steps(seconds, share):
    breaker = Breaker(closed_at=NOW)

    assert admission(breaker, NOW + seconds * SECOND) == share


@pytest.mark.parametrize(
    ("minutes", "left"), [(-1, 3), (0, 3), (9, 3), (10, 2), (29, 1), (30, 0), (300, 0)]
)
def test_an_opening_is_forgotten_every_ten_healthy_minutes(minutes, left):
    breaker = Breaker(opened_count=3, closed_at=NOW)

    assert opened_count(breaker, NOW + minutes * MINUTE) == left
    again = opened(at=NOW + minutes * MINUTE, opened_count=3, closed_at=NOW)
    assert again.opened_count == left + 1


@pytest.mark.parametrize(
    ("breaker", "words"),
    [
        (Breaker(), "in use"),
        (
            Breaker(closed_at=NOW, reason="3 probes succeeded"),
            "in use for 25% of the traffic (3 probes succeeded)",
        ),
        (
            Breaker(BreakerState.OPEN, "the probe failed", open_until=NOW + SECOND),
            "out of use until 09:00:01 UTC (the probe failed)",
        ),
        (
            Breaker(BreakerState.OPEN, "the probe failed", open_until=NOW),
            "out of use until the next message tries it (the probe failed)",
        ),
        (Breaker(BreakerState.HALF_OPEN), "being tried again"),
    ],
)
def test_its_state_can_be_put_in_words(breaker, words):
    assert describe(breaker, NOW) == words


def test_limits_are_the_callers_to_choose():
    limits = BreakerLimits(failures_in_a_row=1, open_limit=2 * SECOND)
    breaker = observe(
        Breaker(opened_count=6),
        Outcomes(failures=1),
        now=NOW,
        rng=Random(0),
        is_last_eligible=False,
        limits=limits,
    )

    assert NOW + SECOND <= breaker.open_until <= NOW + 2 * SECOND


def test_a_row_keeps_it_whole():
    breaker = Breaker(
        BreakerState.HALF_OPEN, "x", (Bucket(1, 2, 3),), 4, 5, NOW, NOW, 2, NOW
    )
    row = to_row(breaker)

    assert from_row({**row, "id": 7}) == breaker
    assert json.loads(json.dumps(row["buckets"])) == row["buckets"]


class BreakerMachine(RuleBasedStateMachine):
    """Workers that report, probe and die, in any order and at any speed."""

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.rng = Random(1)
        self.breaker = Breaker()
        self.probes = []  # the token of the current probe, live or dead
        self.dead = []  # tokens of probes that another one has replaced

    def become(self, breaker):
        """Check the change, and keep the new state."""
        before, self.breaker = self.breaker, breaker
        if breaker.state == BreakerState.OPEN and breaker is not before:
            self.check_opening(before)
        if before.state == BreakerState.OPEN and breaker.is_closed:
            assert before.opened_count == 1, "it closed without a probe"
            assert breaker == with_success(Breaker(), self.now)

    def check_opening(self, before):
        k = opened_count(before, self.now)
        longest = min(300, 5 * 2**k)
        seconds = (self.breaker.open_until - self.now).total_seconds()
        assert longest / 2 - 1e-6 <= seconds <= longest + 1e-6
        assert self.breaker.opened_count == min(k + 1, LIMITS.max_opened_count)

    @rule(seconds=st.sampled_from([0.01, 1, 5, 10, 31, 60, 300, 600, 4000, -2]))
    def time_passes(self, seconds):
        self.now += seconds * SECOND

    @rule(
        successes=st.integers(0, 30),
        failures=st.integers(0, 30),
        account=st.sampled_from([0, 0, 0, 1]),
        last=st.booleans(),
    )
    def workers_report(self, successes, failures, account, last):
        before = self.breaker
        self.become(
            observe(
                before,
                Outcomes(successes, failures, account),
                now=self.now,
                rng=self.rng,
                is_last_eligible=last,
            )
        )
        if before.is_closed and ((last and successes) or not failures + account):
            assert self.breaker.is_closed
        if not before.is_closed and not (last and successes):
            assert self.breaker is before
        if before.state == BreakerState.CLOSED and account and not last:
            assert self.breaker.state == BreakerState.OPEN

    @rule()
    def a_worker_wants_to_probe(self):
        is_live = any(token > self.now for token in self.probes)
        before = self.breaker
        probing = begin_probe(before, self.now, LEASE)
        if probing is None:
            return
        assert before.state != BreakerState.CLOSED
        assert before.open_until is None or before.open_until <= self.now
        assert not is_live, "two probes at once"
        self.become(probing)
        self.dead += self.probes
        self.probes = [probing.probe_until]

    @precondition(lambda self: self.probes)
    @rule(is_success=st.sampled_from([True, True, False, None]))
    def a_probe_comes_back(self, is_success):
        token = self.probes.pop()
        before = self.breaker
        self.become(
            end_probe(
                before, ProbeResult(token, is_success), now=self.now, rng=self.rng
            )
        )
        if is_success is False:
            assert self.breaker.state == BreakerState.OPEN
        if self.breaker.state == BreakerState.CLOSED:
            assert before.probe_successes == LIMITS.probe_successes - 1
            assert admission(self.breaker, self.now) == 0.25

    @precondition(lambda self: self.dead)
    @rule(is_success=st.sampled_from([True, False, None]))
    def a_dead_prober_comes_back(self, is_success):
        token, before = self.dead.pop(), self.breaker
        if token != before.probe_until:
            after = end_probe(
                before, ProbeResult(token, is_success), now=self.now, rng=self.rng
            )
            assert after is before

    @invariant()
    def traffic_passes_only_when_closed(self):
        share = admission(self.breaker, self.now)
        assert (share > 0) == (self.breaker.state == BreakerState.CLOSED)
        assert share in (0.0, 0.25, 0.5, 1.0)

    @invariant()
    def it_is_never_stuck(self):
        if self.breaker.state != BreakerState.CLOSED:
            assert may_probe(self.breaker, self.now + 400 * SECOND)

    @invariant()
    def it_is_of_bounded_size_and_fits_its_row(self):
        assert len(self.breaker.buckets) <= 2 * LIMITS.bucket_count - 1
        assert 0 <= self.breaker.opened_count <= LIMITS.max_opened_count
        assert from_row(to_row(self.breaker)) == self.breaker


TestBreakerMachine = BreakerMachine.TestCase


def test_a_provider_is_well_again_a_minute_after_its_last_failure():
    failed_once = observed(observed(Breaker(), failures=1), successes=1)

    assert is_healthy(Breaker(), NOW)
    assert not is_healthy(failed_once, NOW + MINUTE - 10 * SECOND)
    assert is_healthy(failed_once, NOW + MINUTE)


def test_a_provider_is_not_well_before_it_has_sent_again():
    assert not is_healthy(observed(Breaker(), failures=1), NOW + 10 * MINUTE)


def test_a_provider_is_not_well_while_its_breaker_turns_anything_away():
    closed = Breaker(closed_at=NOW)

    assert not is_healthy(opened(), NOW + 10 * MINUTE)
    assert not is_healthy(closed, NOW + MINUTE - SECOND)
    assert is_healthy(closed, NOW + MINUTE)
