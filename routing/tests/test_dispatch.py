"""Sending by a provider: always a result, never an exception."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from routing.dispatch import SendRequest, batch_key, batch_size, send
from routing.money import Money
from routing.providers.base import (
    Acceptance,
    AccountError,
    BatchRejected,
    MessageError,
    NotCalled,
    OutboundMessage,
    OutcomeUnknown,
    Provider,
    ProviderError,
    RecipientError,
    SendFailure,
    Throttled,
    UnmappedError,
)
from routing.providers.registry import registry
from routing.vocabulary import AttemptOutcome, Channel

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
LEASE = timedelta(seconds=90)
MESSAGE = OutboundMessage("m1a1", "+14155550101", "Hello")


class Mute(Provider):
    """Breaks the contract: its `send` returns nothing."""

    channel = Channel.SMS

    def send(self, message):
        return None


@pytest.fixture(autouse=True)
def ours(settings):
    """`Ours`, which keeps SMS in memory."""
    settings.MESSAGE_PROVIDERS = {
        "Ours": {"BACKEND": "routing.providers.memory.MemorySMS"},
        "Idle": {"BACKEND": "routing.providers.twilio.TwilioSMS"},
    }
    return registry.get("Ours")


def send_one(provider="Ours", now=NOW, **fields):
    [done] = send(
        provider_name=provider,
        requests=[load(**fields)],
        not_after=NOW + LEASE,
        clock=lambda: now,
    )
    return done


def load(**fields):
    return SendRequest(replace(MESSAGE, **fields), 2, Money(Decimal("0.02"), "EUR"))


def test_an_accepted_message_comes_back_with_id_time_and_cost(ours):
    done = send_one()

    assert ours.outbox == [MESSAGE]
    assert (done.provider, done.attempted_at) == ("Ours", NOW)
    assert done.acceptance.external_message_id == "memory-1"
    assert done.failure is None
    assert done.outcome == AttemptOutcome.ACCEPTED
    assert done.cost == Money(Decimal("0.02"), "EUR")
    assert 0 <= done.response_time_ms < 1000


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (RecipientError(code="21211"), AttemptOutcome.REJECTED),
        (MessageError(), AttemptOutcome.REJECTED),
        (UnmappedError(code="new"), AttemptOutcome.REJECTED),
        (ProviderError(unavailable=True), AttemptOutcome.REJECTED),
        (AccountError(), AttemptOutcome.REJECTED),
        (Throttled(), AttemptOutcome.REJECTED),
        (OutcomeUnknown(), AttemptOutcome.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SendFailure) else "",
)
def test_a_failure_comes_back_as_it_was_raised(ours, failure, outcome):
    ours.fail_with(failure)

    done = send_one()

    assert done.failure is failure
    assert done.outcome == outcome
    assert done.acceptance is None
    assert done.cost is None


def test_a_fault_of_the_adapter_leaves_the_outcome_unknown(ours, caplog):
    ours.fail_with(ZeroDivisionError("a fault of ours"))

    done = send_one()

    assert type(done.failure) is OutcomeUnknown
    assert done.failure.code == "adapter"
    assert "Ours failed on m1a1" in caplog.text
    assert "a fault of ours" in caplog.text


@pytest.mark.parametrize("leaves", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_adapter_that_wants_to_end_the_thread_leaves_the_outcome_unknown(
    ours, leaves
):
    ours.fail_with(leaves())

    assert send_one().outcome == AttemptOutcome.UNKNOWN


def test_a_provider_is_not_called_when_the_lease_has_run_out(ours):
    done = send_one(now=NOW + LEASE)

    assert ours.outbox == []
    assert type(done.failure) is NotCalled
    assert done.outcome == AttemptOutcome.REJECTED


def test_an_adapter_that_answers_nothing_leaves_the_outcome_unknown(settings):
    settings.MESSAGE_PROVIDERS = {"Mute": {"BACKEND": f"{__name__}.Mute"}}

    assert send_one("Mute").outcome == AttemptOutcome.UNKNOWN


def test_a_code_that_is_in_no_table_is_shown_to_operators(ours, caplog):
    ours.fail_with(UnmappedError("brand new", code="777"))

    send_one()

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "Ours refused m1a1 with code '777'" in record.message


def test_an_everyday_refusal_is_not_logged(ours, caplog):
    ours.fail_with(RecipientError(code="21211"))

    send_one()

    assert caplog.records == []


@pytest.mark.parametrize(
    ("provider", "says"),
    [("Idle", "Idle is not configured"), ("Nobody", "Unknown provider 'Nobody'")],
)
def test_a_provider_that_cannot_be_had_has_certainly_not_sent(provider, says):
    done = send_one(provider)

    assert type(done.failure) is AccountError
    assert done.outcome == AttemptOutcome.REJECTED
    assert says in str(done.failure)


def together(*loads, provider="Ours"):
    return send(
        provider_name=provider,
        requests=loads,
        not_after=NOW + LEASE,
        clock=lambda: NOW,
    )


def test_messages_that_share_a_call_are_told_apart(ours):
    one, other = together(load(), load(reference="m2a1"))

    assert ours.calls == [2]
    assert [each.reference for each in ours.outbox] == ["m1a1", "m2a1"]
    assert one.acceptance != other.acceptance
    assert one.cost == other.cost == Money(Decimal("0.02"), "EUR")


def test_of_a_refused_call_each_has_its_own_outcome(ours):
    ours.fail_with(RecipientError(code="21211"))

    one, other = together(load(), load(reference="m2a1"))

    assert (one.failure.code, one.cost) == ("21211", None)
    assert type(other.failure) is BatchRejected
    assert ours.outbox == []


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (OutcomeUnknown(), OutcomeUnknown),
        (Throttled(), Throttled),
        (ZeroDivisionError(), OutcomeUnknown),
    ],
)
def test_what_befalls_a_call_befalls_all_that_share_it(ours, failure, kind):
    ours.fail_with(failure)

    done = together(load(), load(reference="m2a1"))

    assert [type(each.failure) for each in done] == [kind, kind]


class Forgetful(Provider):
    """Breaks the contract: one result for several messages, and no key."""

    channel = Channel.SMS
    max_batch = 10

    def send_batch(self, messages):
        return [Acceptance("1")]

    def batch_key(self, message):
        raise ZeroDivisionError


@pytest.fixture
def forgetful(settings):
    settings.MESSAGE_PROVIDERS = {"Forgetful": {"BACKEND": f"{__name__}.Forgetful"}}


def test_an_adapter_that_does_not_answer_for_each_leaves_all_unknown(forgetful):
    done = together(load(), load(reference="m2a1"), provider="Forgetful")

    assert [each.outcome for each in done] == [AttemptOutcome.UNKNOWN] * 2


def test_a_message_that_its_adapter_has_no_key_for_goes_alone(forgetful, caplog):
    assert batch_key("Forgetful", MESSAGE) is None
    assert "Forgetful failed on m1a1" in caplog.text


@pytest.mark.parametrize(
    ("provider", "size"), [("Ours", 1), ("Idle", 1), ("Nobody", 1)]
)
def test_without_a_word_of_its_provider_each_message_goes_alone(provider, size):
    assert batch_size(provider) == size
