"""The window: results that come back from providers, and those that do not."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from messaging.queue.window import Window
from messaging.tests.conftest import MEMORY_PROVIDERS
from messaging.tests.scenario import NOW, claim, messages
from routing.providers.base import Acceptance, Provider
from routing.providers.registry import registry
from routing.vocabulary import AttemptOutcome, Channel

pytestmark = pytest.mark.django_db


class Hanging(Provider):
    """An adapter that breaks its promise: it ends when the test says so."""

    channel = Channel.SMS

    def __init__(self, name, options):
        super().__init__(name, options)
        self.may_end = threading.Event()

    def send(self, message):
        self.may_end.wait()
        return Acceptance("late")


@pytest.fixture
def hanging(route, settings):
    """Twilio's place is taken by an adapter that hangs."""
    backend = {"BACKEND": f"{__name__}.Hanging"}
    settings.MESSAGE_PROVIDERS = settings.MESSAGE_PROVIDERS | {"TwilioSMS": backend}
    provider = registry.get("TwilioSMS")
    yield provider
    provider.may_end.set()


@pytest.fixture
def no_more_threads():
    """From this call on the host allows no threads: each would need 64 TiB."""
    yield lambda: threading.stack_size(2**46)
    threading.stack_size(0)


def window(patience, size=1):
    return Window(size=size, clock=lambda: NOW, patience=patience)


def take(window):
    """The next result, which must be the only one."""
    while not (done := window.finished(wait=0.01, at_most=1)):
        pass
    ((_, send_result),) = done
    return send_result


def test_a_call_that_does_not_end_is_given_up_as_unknown(hanging, caplog):
    messages(1)
    calls = window(patience=timedelta(0))

    calls.start(claim()[0])

    assert take(calls).outcome == AttemptOutcome.UNKNOWN
    assert calls.room == 1
    assert "TwilioSMS did not come back" in caplog.text


def test_a_call_that_was_given_up_may_still_come_back(hanging):
    messages(1)
    calls = window(patience=timedelta(0))
    calls.start(claim()[0])
    take(calls)

    hanging.may_end.set()

    assert take(calls).acceptance == Acceptance("late")
    assert calls.room == 1


def test_a_call_that_hangs_holds_no_other_up(hanging, settings):
    messages(2)
    hung, other = claim()
    calls = window(patience=timedelta(0))
    calls.start(hung)
    take(calls)

    settings.MESSAGE_PROVIDERS = MEMORY_PROVIDERS
    calls.start(other)

    while take(calls).outcome != AttemptOutcome.ACCEPTED:
        pass  # given up before it could come back
    assert calls.room == 1


def test_one_thread_serves_one_message_after_the_other(route):
    messages(3)
    calls = window(patience=timedelta(minutes=1))

    for claimed in claim():
        calls.start(claimed)
        assert take(calls).outcome == AttemptOutcome.ACCEPTED

    assert calls._threads == 1


def test_without_more_threads_those_there_are_do_all_the_work(route, no_more_threads):
    messages(3)
    first, *others = claim()
    calls = window(patience=timedelta(minutes=1), size=3)
    calls.start(first)
    no_more_threads()

    for claimed in others:
        calls.start(claimed)

    outcomes = [take(calls).outcome for _ in range(3)]
    assert outcomes == [AttemptOutcome.ACCEPTED] * 3
    assert (calls.size, calls.room) == (1, 1)


def test_without_any_thread_the_worker_is_told_what_to_look_at(route, no_more_threads):
    messages(1)
    no_more_threads()

    with pytest.raises(RuntimeError, match="allows no thread to call providers in"):
        window(patience=timedelta(minutes=1)).start(claim()[0])
