"""Waking a worker that waits, and telling it apart from a wait that is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from messaging.queue.wakeup import Waiter, notify_workers
from messaging.tests.scenario import PATIENCE

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("needs_a_server"),
]
AT_ONCE = timedelta(milliseconds=10)


@pytest.fixture
def waiter():
    """One that listens already."""
    waiter = Waiter()
    waiter.wait(AT_ONCE)
    return waiter


def test_a_waiter_tells_that_it_was_woken(waiter):
    notify_workers()

    assert waiter.wait(timedelta(seconds=PATIENCE))


def test_a_waiter_tells_that_nobody_woke_it(waiter):
    assert not waiter.wait(AT_ONCE)
