"""Waking a waiting worker, and distinguishing that from a timeout."""

from __future__ import annotations

from datetime import timedelta

import pytest

from messaging.queue import coordination
from messaging.queue.coordination import NOTIFY_EVERY, Waiter, notify_workers
from messaging.tests.scenario import NOW, PATIENCE
from routing.signals import receipts_stored
from routing.timer import Timer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("needs_a_server"),
]
AT_ONCE = timedelta(milliseconds=10)


@pytest.fixture
def waiter():
    """A waiter that already listens."""
    waiter = Waiter()
    waiter.wait(AT_ONCE)
    return waiter


def test_a_waiter_tells_that_it_was_woken(waiter):
    notify_workers()

    assert waiter.wait(timedelta(seconds=PATIENCE))


def test_a_stored_receipt_wakes_a_waiter(waiter, monkeypatch):
    monkeypatch.setattr(
        coordination, "_notify_timer", Timer(NOTIFY_EVERY, is_over=True)
    )

    receipts_stored.send(None, provider="TwilioSMS", urgent=[], now=NOW)

    assert waiter.wait(timedelta(seconds=PATIENCE))


def test_a_waiter_tells_that_nobody_woke_it(waiter):
    assert not waiter.wait(AT_ONCE)
