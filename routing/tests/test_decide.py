"""Which provider is next, and what to do when it fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from routing.providers.base import (
    AccountError,
    BatchRejected,
    CarrierCapReached,
    HandsetOff,
    HostFault,
    MessageError,
    NotCalled,
    NotNow,
    OutcomeUnknown,
    PartlyTaken,
    ProviderError,
    RecipientError,
    Throttled,
    UnmappedError,
    UnsuitableError,
)
from routing.rules.decide import (
    HOST_FAULT_PAUSE,
    AwaitVerdict,
    Choices,
    DecisionContext,
    FallBack,
    GiveUp,
    Retry,
    Round,
    Sent,
    after_lost_worker,
    cautious_step,
    first_choice,
    is_hopeless,
    next_step,
    next_try_at,
    probe_choice,
    what_rules_out,
)
from routing.rules.retry import LinearRetry, PastAttempt, no_retry
from routing.rules.retry_table import RetryRule, RetryTable
from routing.rules.route import Route
from routing.rules.thresholds import Thresholds
from routing.strategies import Candidate, Context, Verdict
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ErrorClass,
    FallbackReason,
    RoutingStrategy,
    UnknownOutcomePolicy,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
TOO_LONG = Verdict("too long for it", is_for_good=True)
DUE = Verdict("out of use until the next message tries it", may_be_probed=True)
ROUTE = Route(
    config_id=1,
    channel=Channel.SMS,
    strategy=RoutingStrategy.PRIMARY,
    providers=("A", "B"),
    is_fallback_enabled=True,
    max_retries=2,
    retry_policy=LinearRetry(MINUTE, 10 * MINUTE),
    unknown_outcome_policy=UnknownOutcomePolicy.WAIT,
)
ALONE = replace(ROUTE, is_fallback_enabled=False)


def choices(*, prices=None, unsuitable=(), **verdicts):
    """Providers A and B: what rules each out, and its price."""
    ruled_out = {name: Verdict(reason) for name, reason in verdicts.items()}
    ruled_out |= dict.fromkeys(unsuitable, TOO_LONG)
    return Choices(
        tuple(
            Candidate(name, ruled_out.get(name), price=(prices or {}).get(name))
            for name in ROUTE.providers
        )
    )


def until(*seconds):
    """Choices whose verdicts end after these seconds; None: unknown."""
    return Choices(
        tuple(
            Candidate(
                name,
                Verdict("busy", until=None if n is None else NOW + n * SECOND),
            )
            for name, n in zip(ROUTE.providers, seconds, strict=True)
        )
    )


def step(
    failure,
    *,
    route=ROUTE,
    tried=("A",),
    failed_rounds=0,
    verdicts=None,
    past=(),
    rules=(),
):
    at = DecisionContext(
        now=NOW,
        rng=Random(0),
        choices=choices(**verdicts or {}),
        jitter=0.0,
        verdict_wait=timedelta(hours=1),
        retries=RetryTable(tuple(rules)),
    )
    return next_step(route, failure, Round(tried, failed_rounds, past), at)


def throttled(count, *, by="A"):
    """`count` attempts in a row that the provider throttled."""
    return tuple(
        PastAttempt(n, by, AttemptOutcome.REJECTED, ErrorClass.THROTTLED, "429", NOW)
        for n in range(1, count + 1)
    )


@pytest.mark.parametrize(
    "strategy", [RoutingStrategy.PRIMARY, RoutingStrategy.FALLBACK]
)
def test_a_round_starts_with_the_first_provider_when_it_may_be_used(strategy):
    decision = first_choice(replace(ROUTE, strategy=strategy), choices())

    assert decision.provider == "A"
    assert decision.fallback_reason is None


@pytest.mark.parametrize(
    "strategy", [RoutingStrategy.PRIMARY, RoutingStrategy.FALLBACK]
)
def test_a_round_starts_with_the_next_provider_when_the_first_is_out_of_use(strategy):
    decision = first_choice(
        replace(ROUTE, strategy=strategy), choices(A="no credentials")
    )

    assert decision.provider == "B"
    assert decision.fallback_reason == FallbackReason.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize(
    "strategy", [RoutingStrategy.PRIMARY, RoutingStrategy.FALLBACK]
)
def test_a_route_without_fallback_uses_its_first_provider_or_none(strategy):
    route = replace(ALONE, strategy=strategy)

    assert first_choice(route, choices(A="no credentials")) is None


def test_no_provider_is_chosen_when_none_may_be_used():
    assert first_choice(ROUTE, choices(A="x", B="y")) is None


def test_a_decision_records_every_candidate_and_its_verdict():
    decision = first_choice(ROUTE, choices(A="no credentials"))

    assert decision.record["chosen"] == "B"
    assert decision.record["strategy"] == "Primary"
    assert decision.record["fallback_reason"] == "Provider unavailable"
    verdicts = {
        each["provider"]: each["verdict"] for each in decision.record["candidates"]
    }
    assert verdicts == {"A": "no credentials", "B": "eligible"}


def test_a_provider_that_is_too_dear_is_passed_over_and_says_why():
    route = replace(ROUTE, thresholds=Thresholds(max_cost=Decimal("0.05")))

    decision = first_choice(
        route, choices(prices={"A": Decimal("0.06"), "B": Decimal("0.04")})
    )

    assert decision.provider == "B"
    assert decision.fallback_reason == FallbackReason.COST_THRESHOLD
    assert decision.record["candidates"][0]["price"] == "0.06"


def test_nothing_is_sent_when_every_provider_is_too_dear():
    route = replace(ROUTE, thresholds=Thresholds(max_cost=Decimal("0.01")))
    dear = choices(prices={"A": Decimal("0.06"), "B": Decimal("0.04")})

    assert first_choice(route, dear) is None


def test_least_cost_choosing_the_second_provider_is_a_choice_and_no_fallback():
    route = replace(ROUTE, strategy=RoutingStrategy.LEAST_COST)

    decision = first_choice(
        route, choices(prices={"A": Decimal("0.06"), "B": Decimal("0.04")})
    )

    assert (decision.provider, decision.fallback_reason) == ("B", None)


def test_a_fallback_goes_where_the_strategy_would_go_of_what_is_left():
    route = replace(
        ROUTE, strategy=RoutingStrategy.LEAST_COST, providers=("A", "B", "C")
    )
    three = Choices(
        tuple(
            Candidate(name, price=Decimal(price))
            for name, price in [("A", "0.01"), ("B", "0.09"), ("C", "0.05")]
        )
    )
    at = DecisionContext(NOW, Random(0), three, 0.0, timedelta(hours=1))

    result = next_step(route, ProviderError(), Round(("A",), 0), at)

    assert result.decision.provider == "C"


def test_an_accepted_message_is_sent():
    assert step(None) == Sent()


@pytest.mark.parametrize("failure", [RecipientError(), MessageError()], ids=repr)
def test_a_permanent_failure_is_neither_retried_nor_sent_elsewhere(failure):
    assert step(failure) == GiveUp()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ProviderError(), FallbackReason.PRIMARY_FAILED),
        (AccountError(), FallbackReason.PRIMARY_FAILED),
        (ProviderError(unavailable=True), FallbackReason.PROVIDER_UNAVAILABLE),
        (Throttled(), FallbackReason.RATE_LIMIT_EXCEEDED),
        (NotNow(elsewhere=True), FallbackReason.RATE_LIMIT_EXCEEDED),
        (UnsuitableError(), FallbackReason.PRIMARY_FAILED),
        (UnmappedError(), FallbackReason.PRIMARY_FAILED),
    ],
)
def test_a_certain_failure_falls_back_at_once_and_says_why(failure, reason):
    result = step(failure)

    assert isinstance(result, FallBack)
    assert result.decision.provider == "B"
    assert result.decision.fallback_reason == reason


def test_a_fallback_never_goes_to_a_provider_that_is_out_of_use():
    result = step(ProviderError(), verdicts={"B": "no credentials"})

    assert result == Retry(NOW + MINUTE, counts_as_retry=True)


def test_a_round_in_which_all_providers_failed_is_tried_again_later():
    result = step(ProviderError(), tried=("A", "B"), failed_rounds=1)

    assert result == Retry(NOW + 2 * MINUTE, counts_as_retry=True)


def test_a_providers_own_retry_after_wins_when_it_is_longer():
    longer = ProviderError(retry_after=5 * MINUTE)
    shorter = ProviderError(retry_after=timedelta(seconds=1))

    assert step(longer, route=ALONE).due_at == NOW + 5 * MINUTE
    assert step(shorter, route=ALONE).due_at == NOW + MINUTE


def test_the_last_round_gives_up():
    assert step(ProviderError(), route=ALONE, failed_rounds=2) == GiveUp()


def test_a_policy_that_says_stop_gives_up():
    route = replace(ALONE, retry_policy=no_retry)

    assert step(ProviderError(), route=route) == GiveUp()


def test_a_throttled_message_waits_as_told_and_burns_no_round():
    failure = Throttled(retry_after=timedelta(seconds=30))

    result = step(failure, route=ALONE, failed_rounds=2)

    assert result == Retry(NOW + timedelta(seconds=30), counts_as_retry=False)


@pytest.mark.parametrize(
    ("times", "told", "pause"),
    [
        (0, None, timedelta(seconds=5)),
        (1, None, timedelta(seconds=10)),
        (4, None, timedelta(seconds=80)),
        (3, timedelta(seconds=1), timedelta(seconds=8)),
        (99, None, timedelta(minutes=15)),
        (99, timedelta(hours=2), timedelta(hours=2)),
    ],
)
def test_each_further_throttle_in_a_row_waits_twice_as_long(times, told, pause):
    failure = Throttled(retry_after=told)

    result = step(failure, route=ALONE, past=throttled(times))

    assert result == Retry(NOW + pause, counts_as_retry=False)


def test_the_throttles_of_another_provider_lengthen_no_wait():
    result = step(Throttled(), route=ALONE, past=throttled(9, by="B"))

    assert result.due_at == NOW + timedelta(seconds=5)


def test_a_message_that_is_throttled_for_a_day_burns_its_rounds():
    past = throttled(100)

    later = step(Throttled(), route=ALONE, past=past)
    last = step(Throttled(), route=ALONE, past=past, failed_rounds=2)

    assert later == Retry(NOW + 15 * MINUTE, counts_as_retry=True)
    assert last == GiveUp()


def test_a_recipient_who_takes_none_now_is_tried_later_and_never_elsewhere():
    first, second = [step(NotNow(), failed_rounds=n) for n in (0, 1)]

    assert first == Retry(NOW + MINUTE, counts_as_retry=True)
    assert second == Retry(NOW + 2 * MINUTE, counts_as_retry=True)
    assert step(NotNow(), failed_rounds=2) == GiveUp()


def test_a_recipients_limit_outlasts_an_impatient_route():
    impatient = replace(ALONE, retry_policy=LinearRetry(timedelta(seconds=1), MINUTE))

    result = step(NotNow(elsewhere=True), route=impatient, failed_rounds=1)

    assert result == Retry(NOW + MINUTE, counts_as_retry=True)


OFF = RetryRule(ErrorClass.HANDSET_OFF, (MINUTE, 60 * MINUTE))


def off(count, *, by="A"):
    """`count` attempts after which the handset was said to be off."""
    accepted, cls = AttemptOutcome.ACCEPTED, ErrorClass.HANDSET_OFF
    return tuple(
        PastAttempt(n, by, accepted, None, "", NOW, reported=cls)
        for n in range(1, count + 1)
    )


def test_what_is_in_the_retry_table_goes_by_its_times_and_leaves_the_routes_alone():
    used_up = {"rules": [OFF], "failed_rounds": ROUTE.max_retries}

    first = step(HandsetOff(), **used_up)
    second = step(HandsetOff(), past=off(1, by="B"), **used_up)

    assert first == Retry(NOW + MINUTE, False, note="handset off; 2 of 3")
    assert second == Retry(NOW + 60 * MINUTE, False, note="handset off; 3 of 3")
    assert step(HandsetOff(), past=off(2), rules=[OFF]) == GiveUp()


def test_a_failure_of_a_provider_after_that_goes_by_its_route():
    result = step(ProviderError(), route=ALONE, past=off(2), rules=[OFF])

    assert result == Retry(NOW + MINUTE, counts_as_retry=True)


def test_a_later_time_that_the_provider_asks_for_is_kept():
    result = step(HandsetOff(retry_after=9 * MINUTE), rules=[OFF])

    assert result.due_at == NOW + 9 * MINUTE


def test_a_rule_for_one_code_retries_what_is_final_otherwise():
    blocked = RetryRule(ErrorClass.RECIPIENT, (MINUTE,), code="30004")

    assert step(RecipientError(code="30004"), rules=[blocked]).due_at == NOW + MINUTE
    assert step(RecipientError(code="30005"), rules=[blocked]) == GiveUp()


def test_the_table_never_resends_what_may_have_been_sent_nor_skips_a_fallback():
    rules = [
        replace(OFF, error_class=ErrorClass.UNKNOWN),
        replace(OFF, error_class=ErrorClass.PROVIDER, code="7"),
        replace(OFF, error_class=ErrorClass.THROTTLED),
    ]

    assert isinstance(step(OutcomeUnknown(), rules=rules), AwaitVerdict)
    assert isinstance(step(ProviderError(code="7"), rules=rules), FallBack)
    throttled_alone = step(Throttled(), route=ALONE, rules=rules)
    assert throttled_alone == Retry(NOW + 5 * SECOND, counts_as_retry=False)


@pytest.mark.parametrize("failure", [UnsuitableError(), UnmappedError()], ids=repr)
def test_what_one_provider_refuses_waits_for_another_that_is_out_of_use(failure):
    result = step(failure, verdicts={"B": "out of use"})

    assert result == Retry(NOW + MINUTE, counts_as_retry=True)


@pytest.mark.parametrize("failure", [UnsuitableError(), UnmappedError()], ids=repr)
def test_what_no_other_provider_could_take_has_failed(failure):
    assert step(failure, route=ALONE) == GiveUp()
    assert step(failure, verdicts={"unsuitable": ("B",)}) == GiveUp()


def test_a_provider_that_cannot_carry_it_is_passed_over():
    decision = first_choice(ROUTE, choices(unsuitable=("A",)))

    assert decision.provider == "B"
    assert decision.record["candidates"][0]["verdict"] == "too long for it"
    assert not is_hopeless(ROUTE, choices(unsuitable=("A",)))


def test_a_strategy_that_compares_does_so_among_those_that_can_carry_it():
    route = replace(ALONE, strategy=RoutingStrategy.LEAST_COST)
    prices = {"A": Decimal("0.01"), "B": Decimal("0.09")}

    decision = first_choice(route, choices(prices=prices, unsuitable=("A",)))

    assert (decision.provider, decision.fallback_reason) == ("B", None)


@pytest.mark.parametrize(
    ("route", "unsuitable"), [(ROUTE, ("A", "B")), (ALONE, ("A",))]
)
def test_a_message_that_no_provider_of_its_route_can_carry_is_hopeless(
    route, unsuitable
):
    assert first_choice(route, choices(unsuitable=unsuitable)) is None
    assert is_hopeless(route, choices(unsuitable=unsuitable))


@pytest.mark.parametrize(
    ("choices", "seconds"),
    [
        (until(3, 2), 2),
        (until(None, 2), 2),
        (until(None, None), 10),
        (until(None, 60), 10),
        (until(-1, 2), 0.05),
    ],
)
def test_a_message_waits_for_the_first_provider_that_may_have_room(choices, seconds):
    assert next_try_at(ROUTE, choices, now=NOW) == NOW + seconds * SECOND


def test_a_message_does_not_wait_for_a_provider_that_its_route_never_uses():
    assert next_try_at(ALONE, until(3, 2), now=NOW) == NOW + 3 * SECOND


def test_a_message_that_waits_says_what_rules_each_provider_out():
    route = replace(ROUTE, thresholds=Thresholds(max_cost=Decimal("0.01")))
    out = choices(prices={"B": Decimal("0.04")}, A="out of use")

    assert what_rules_out(route, out) == (
        "A: out of use; B: its price 0.04 is above the maximum of 0.01"
    )


def test_a_provider_that_is_due_for_a_probe_gets_the_message_that_is_ideally_its():
    due = choices().with_verdicts({"A": DUE})

    probe = probe_choice(ROUTE, due)

    assert (probe.provider, probe.fallback_reason) == ("A", None)
    assert probe_choice(ROUTE, choices(A="no credentials")) is None
    assert probe_choice(ROUTE, choices().with_verdicts({"B": DUE})) is None


def test_a_probe_goes_to_the_provider_whose_turn_it_is_whoever_else_is_out():
    route = replace(
        ROUTE, strategy=RoutingStrategy.ROUND_ROBIN, providers=("A", "B", "C", "D")
    )
    out = {"A": Verdict("open"), "B": DUE, "D": Verdict("open")}
    four = Choices(tuple(map(Candidate, route.providers)), Context(turn=1))

    probe = probe_choice(route, four.with_verdicts(out))

    assert probe.provider == "B"


def test_a_provider_that_is_too_dear_is_not_probed():
    route = replace(ROUTE, thresholds=Thresholds(max_cost=Decimal("0.05")))
    due = choices(prices={"A": Decimal("0.06")}).with_verdicts({"A": DUE})

    assert probe_choice(route, due) is None
    assert first_choice(route, due).provider == "B"


def test_a_fallback_from_a_throttled_provider_says_so():
    busy = Verdict("busy", FallbackReason.RATE_LIMIT_EXCEEDED)

    decision = first_choice(ROUTE, choices().with_verdicts({"A": busy}))

    assert decision.fallback_reason == FallbackReason.RATE_LIMIT_EXCEEDED


def test_a_carriers_daily_cap_is_waited_out_whoever_else_could_send():
    failure = CarrierCapReached(zone="America/Los_Angeles")

    # 9:00 UTC is 1:00 in Los Angeles; its next day begins at 8:00 UTC.
    assert step(failure) == Retry(NOW + timedelta(hours=23), counts_as_retry=False)


def test_an_unknown_outcome_waits_for_a_verdict_and_never_falls_back():
    assert step(OutcomeUnknown()) == AwaitVerdict(NOW + timedelta(hours=1))


def test_an_unknown_outcome_is_sent_again_where_the_route_says_so():
    route = replace(ROUTE, unknown_outcome_policy=UnknownOutcomePolicy.RESEND)

    assert step(OutcomeUnknown(), route=route) == Retry(
        NOW + MINUTE, counts_as_retry=True
    )


@pytest.mark.parametrize(
    "failure", [NotCalled(), BatchRejected(goes_alone=True)], ids=repr
)
def test_what_was_not_called_or_refused_for_another_goes_again_at_once(failure):
    assert step(failure) == Retry(NOW, counts_as_retry=False)


def test_a_message_whose_host_cannot_call_goes_back_for_any_worker():
    assert step(HostFault()) == Retry(NOW + HOST_FAULT_PAUSE, counts_as_retry=False)


def test_a_host_without_a_way_to_one_provider_tries_another():
    assert step(HostFault(elsewhere=True)).decision.provider == "B"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (None, Sent()),
        (OutcomeUnknown(), AwaitVerdict(NOW + timedelta(hours=1))),
        (PartlyTaken(), GiveUp()),
        (ProviderError(), GiveUp()),
    ],
)
def test_where_nothing_can_be_decided_nothing_is_sent_again(failure, expected):
    at = DecisionContext(NOW, Random(0), choices(), 0.0, timedelta(hours=1))

    assert cautious_step(failure, at) == expected


def test_a_lost_worker_leaves_an_unknown_outcome():
    at = DecisionContext(NOW, Random(0), choices(), 0.0, timedelta(hours=1))

    result = after_lost_worker(ROUTE, Round(("A",), 0), at)

    assert result == AwaitVerdict(NOW + timedelta(hours=1))
