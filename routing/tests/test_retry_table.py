"""The retry table: which rule is for a failure, and when it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rules.retry import PastAttempt
from routing.rules.retry_table import (
    MOST_DELAYS,
    Failure,
    RetryRule,
    RetryTable,
    in_words,
    problem_with_class,
    problem_with_delays,
    read_delays,
    times_failed,
)
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OFF = ErrorClass.HANDSET_OFF
FAILURE = Failure(Channel.SMS, "TwilioSMS", OFF, "30003")


def rule(**fields):
    return RetryRule(**{"error_class": OFF, "delays": (MINUTE,)} | fields)


# The least specific first.
RULES = [
    rule(),
    rule(channel=Channel.SMS),
    rule(provider="TwilioSMS"),
    rule(provider="TwilioSMS", channel=Channel.SMS),
    rule(code="30003"),
    rule(code="30003", channel=Channel.SMS),
    rule(code="30003", provider="TwilioSMS"),
    rule(code="30003", provider="TwilioSMS", channel=Channel.SMS),
]
OTHERS = [
    rule(channel=Channel.MMS),
    rule(provider="VonageSMS"),
    rule(code="30004"),
    rule(error_class=ErrorClass.MAILBOX_FULL),
]


@pytest.mark.parametrize("most", range(len(RULES)))
@given(data=st.data())
def test_the_most_specific_rule_for_a_failure_counts(most, data):
    rules = data.draw(st.permutations([*RULES[: most + 1], *OTHERS]))

    assert RetryTable(tuple(rules)).rule(FAILURE) == RULES[most]


def test_a_failure_without_a_rule_has_none():
    assert RetryTable(tuple(OTHERS)).rule(FAILURE) is None


def test_each_failure_waits_for_its_own_delay_and_after_the_last_it_ends():
    shipped = rule(delays=(15 * MINUTE, HOUR, 12 * HOUR))

    tries = [shipped.next_try(times=times) for times in range(4)]

    assert [each and each.delay for each in tries] == [
        15 * MINUTE,
        HOUR,
        12 * HOUR,
        None,
    ]
    assert [each.note for each in tries if each] == [
        "handset off; 2 of 4",
        "handset off; 3 of 4",
        "handset off; 4 of 4",
    ]


def test_a_rule_without_delays_is_never_retried():
    assert rule(delays=()).next_try(times=0) is None


def test_failures_of_a_class_are_counted_whoever_told_of_them():
    def past(error_class, reported=None):
        at = datetime(2026, 1, 1, tzinfo=UTC)
        accepted = AttemptOutcome.ACCEPTED
        return PastAttempt(1, "TwilioSMS", accepted, error_class, "", at, reported)

    attempts = [past(OFF), past(None, OFF), past(ErrorClass.PROVIDER), past(None)]

    assert times_failed(attempts, OFF) == 2


@pytest.mark.parametrize(
    ("text", "delays"),
    [
        ("15 min, 1 h, 12 h", (15 * MINUTE, HOUR, 12 * HOUR)),
        ("90min,2 days", (90 * MINUTE, 2 * DAY)),
        ("30 Sec", (timedelta(seconds=30),)),
        ("", ()),
    ],
)
def test_delays_are_read_as_people_write_them(text, delays):
    assert read_delays(text) == delays


@pytest.mark.parametrize(
    "text", ["15", "soon", "-1 h", "1 h 30 min", "1 month", "5 dx"]
)
def test_what_is_no_delay_is_named(text):
    with pytest.raises(ValueError, match="is no delay"):
        read_delays(f"1 h, {text}")


def test_no_delays_read_as_not_retried():
    assert in_words(()) == "not retried"


@given(st.lists(st.timedeltas(MINUTE, 30 * DAY), max_size=MOST_DELAYS, min_size=1))
def test_delays_in_words_are_read_back(delays):
    whole = tuple(timedelta(seconds=int(each.total_seconds())) for each in delays)

    assert read_delays(in_words(whole)) == whole
    assert problem_with_delays(whole) == ""


@pytest.mark.parametrize(
    ("delays", "problem"),
    [
        ([timedelta(0)], "longer than 0"),
        ([31 * DAY], "at most 30 days"),
        ([HOUR] * 11, "at most 10"),
        ([12 * HOUR, MINUTE], ""),
    ],
)
def test_delays_are_few_positive_and_bounded(delays, problem):
    assert problem in problem_with_delays(delays)
    assert bool(problem) == bool(problem_with_delays(delays))


def test_only_what_may_pass_is_retried_and_what_is_mostly_final_by_its_code():
    by_class = {each for each in ErrorClass if not problem_with_class(each, "")}
    by_code = {each for each in ErrorClass if not problem_with_class(each, "7")}

    assert by_class == {
        ErrorClass.NOT_NOW,
        ErrorClass.HANDSET_OFF,
        ErrorClass.MAILBOX_FULL,
        ErrorClass.GREYLISTED,
        ErrorClass.THROTTLED,
    }
    assert by_code - by_class == {
        ErrorClass.PROVIDER,
        ErrorClass.RECIPIENT,
        ErrorClass.MESSAGE,
        ErrorClass.UNMAPPED,
    }
