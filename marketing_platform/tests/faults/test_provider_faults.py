"""Providers that hang, disconnect, answer nonsense, refuse, throttle or are down."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from routing.vocabulary import ErrorClass

STRUCK = 3  # fewer than open a breaker
MESSAGES = 30


def row(number, name, done, holds, **fault):
    mark = pytest.mark.faults(row=number, done=done, holds=holds)
    return pytest.param(fault, marks=mark, id=name)


MISSING = "unknown, then looked up: not there, so the other provider sends it"
SETTLED = "unknown, then settled by the receipt; the other provider is not called"


@pytest.mark.parametrize(
    "fault",
    [
        row("14", "hang", "a provider never answers", MISSING, kind="hang"),
        row(
            *("15", "drip", "it answers a byte per second", SETTLED),
            kind="drip",
            interval=1,
        ),
        row(
            *("16", "reset", "it resets the connection before doing its work", MISSING),
            kind="drop",
        ),
        row(
            *("16b", "reset_late"),
            *("it resets the connection after doing its work", SETTLED),
            kind="drop",
            accepted=True,
        ),
        row(
            *("17", "garbage", "it answers 201 with unreadable bytes", SETTLED),
            kind="garbage",
        ),
        row("17b", "huge", "it answers 201 and 64 MB", SETTLED, kind="huge"),
        row(
            *("18", "http_500", "it answers 500", MISSING),
            kind="error",
            status=500,
            code="20500",
        ),
        row(
            *("18b", "http_502", "a gateway answers 502 instead", MISSING),
            kind="error",
            status=502,
            code="",
        ),
    ],
)
def test_a_provider_that_leaves_it_open(make_scenario, put_on_record, fault):
    scenario = make_scenario(count=MESSAGES)
    scenario.simulator.set_fault("TwilioSMS", count=STRUCK, **fault)

    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    longest = scenario.database.rows(
        "SELECT max(response_time_ms) FROM routing_messagedeliveryattempt"
    )[0][0]
    put_on_record(verdict, recovery, longest_call_ms=longest)
    elsewhere = scenario.attempts("provider <> 'TwilioSMS'")
    assert verdict.is_clean
    assert verdict.unknown == verdict.recovered == STRUCK
    assert elsewhere == (0 if was_taken(fault) else STRUCK)
    assert longest < 2000  # the deadline is one second


def was_taken(fault):
    """Whether the provider accepted the message although its answer went wrong."""
    return fault.get("accepted") or fault["kind"] in {"drip", "garbage", "huge"}


@pytest.mark.parametrize(
    "fault",
    [
        row(
            *("16c", "refused", "a provider's port is closed"),
            "certainly not sent: the other provider sends all, none is unknown",
            kind="refuse",
            seconds=60,
        ),
        row(
            *("18c", "http_503", "it answers 503 to every call"),
            "as 16c",
            kind="unavailable",
        ),
        row(
            *("20", "http_401", "it refuses our credentials"),
            "as 16c; its breaker opens at the first answer",
            kind="error",
            code="20003",
            status=401,
        ),
    ],
)
def test_a_provider_that_certainly_sends_nothing(make_scenario, put_on_record, fault):
    scenario = make_scenario(count=MESSAGES)
    scenario.simulator.set_fault("TwilioSMS", **fault)

    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    wasted = scenario.attempts("provider = 'TwilioSMS'")
    put_on_record(verdict, recovery, calls_refused=wasted)
    assert verdict.is_clean
    assert verdict.accepted == MESSAGES
    # A window of 20 was in flight before the first answer arrived.
    assert wasted <= 20


def http_date(offset):
    return format_datetime(datetime.now(UTC) + offset, usegmt=True)


@pytest.mark.faults(
    row="19",
    done="a provider answers 429, with Retry-After as seconds, as a date, in the past, "
    "negative, as nonsense, and without",
    holds="nothing is sent before its time; no retry is used up, no breaker opens",
)
def test_a_provider_that_throttles(make_scenario, put_on_record):
    scenario = make_scenario(count=12)
    scenario.route(enable_fallback=False)
    scenario.simulator.configure(latency=0.3)
    throttle(scenario, retry_after=1)
    scenario.start(command=["process_queue", "--watch", "--window=1"])
    scenario.wait_for_strikes("TwilioSMS")
    throttle(scenario, retry_after=http_date(timedelta(seconds=3)))
    for nonsense in (http_date(-timedelta(1)), "-5", "soon"):
        scenario.wait_for_strikes("TwilioSMS")
        throttle(scenario, retry_after=nonsense)
    scenario.wait_for_strikes("TwilioSMS")
    throttle(scenario)
    scenario.wait_for_strikes("TwilioSMS")
    recovery = scenario.recover()

    verdict = scenario.verdict()
    asked, dated = waits_after_throttles(scenario)[:2]
    put_on_record(verdict, recovery, waited_for_1_s=asked, waited_for_a_date=dated)
    assert verdict.is_clean
    assert verdict.accepted == 12
    assert asked >= 1
    assert dated >= 1  # a date has whole seconds, and some have passed
    assert scenario.messages("retry_count > 0") == 0
    assert scenario.count("routing_providerhealth", "opened_count > 0") == 0


def throttle(scenario, **wishes):
    scenario.simulator.set_fault("TwilioSMS", "throttle", count=1, **wishes)


def waits_after_throttles(scenario):
    """Seconds from each 429 to the next call of the provider."""
    calls = scenario.database.rows(
        "SELECT response_time_ms, attempted_at, error_class "
        "FROM routing_messagedeliveryattempt ORDER BY attempted_at"
    )
    ends = [(moment(at) + timedelta(milliseconds=ms), kind) for ms, at, kind in calls]
    starts = [moment(at) for _, at, _ in calls[1:]]
    return [
        round((start - end).total_seconds(), 1)
        for (end, kind), start in zip(ends, starts, strict=False)
        if kind == ErrorClass.THROTTLED
    ]


def moment(value):
    """A time, as either database returns it."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value


OUT_FOR = 8  # seconds: minutes in production, whose waits are that much longer
OUTAGES = {
    "refused": {"kind": "refuse"},
    "reset": {"kind": "drop"},
    "hang": {"kind": "hang"},
    "http_500": {"kind": "error", "status": 500, "code": "20500"},
    "http_503": {"kind": "unavailable"},
    "http_401": {"kind": "error", "status": 401, "code": "20003"},
    "http_429": {"kind": "throttle", "retry_after": 2},
}


@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES.keys())
@pytest.mark.parametrize(
    "providers",
    [
        pytest.param(
            ("TwilioSMS",),
            id="one",
            marks=pytest.mark.faults(
                row="30",
                done="a provider refuses, resets, hangs, answers 500, 503, 401 or 429 "
                "to every call for 8 s, then is back",
                holds="the other one takes over: none fails",
            ),
        ),
        pytest.param(
            ("TwilioSMS", "VonageSMS"),
            id="all",
            marks=pytest.mark.faults(
                row="30b",
                done="the same, by all providers of the route at once",
                holds="messages wait on hold, few are called, and none fails",
            ),
        ),
    ],
)
def test_an_outage_costs_time_never_messages(
    make_scenario, put_on_record, providers, fault
):
    scenario = make_scenario(count=60)
    for name in providers:
        scenario.simulator.set_fault(name, **fault)

    scenario.start(2)
    time.sleep(OUT_FOR)
    scenario.simulator.clear_faults()
    recovery = scenario.recover(seconds=90)

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, calls=scenario.attempts())
    assert verdict.is_clean
    assert verdict.accepted == 60
    assert scenario.messages("status = 4") == 0


@pytest.mark.faults(
    row="31",
    done="the only provider answers 503 to every other call for 3 s",
    holds="no thundering herd: no second has more than three times the mean of calls",
)
def test_a_retry_storm(make_scenario, put_on_record):
    scenario = make_scenario(count=600)
    scenario.route(enable_fallback=False)
    scenario.simulator.configure(latency=0.1)
    scenario.simulator.set_fault("TwilioSMS", "unavailable", share=0.5, seconds=3)

    scenario.start(2)
    recovery = scenario.recover()

    verdict = scenario.verdict()
    busiest, mean = calls_per_second(scenario)
    put_on_record(verdict, recovery, busiest_second=busiest, mean_second=mean)
    assert verdict.is_clean
    assert verdict.accepted == 600
    assert busiest <= 3 * mean


def calls_per_second(scenario):
    """The calls in the busiest second, and the mean of all seconds with calls."""
    rows = scenario.database.rows(
        "SELECT attempted_at FROM routing_messagedeliveryattempt"
    )
    seconds = Counter(moment(at).replace(microsecond=0) for (at,) in rows)
    return max(seconds.values()), round(sum(seconds.values()) / len(seconds), 1)
