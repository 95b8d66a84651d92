"""The demo's proof can fail, and its children obey."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from marketing_platform.demo.check import Standing, Verdict, check, compare
from marketing_platform.demo.processes import Child
from messaging.factories import CampaignFactory, MessageFactory
from routing.simulators.handset import HandsetEntry, SimulatedMessage
from routing.vocabulary import MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
PATIENCE = 10  # seconds
SENT, DELIVERED = Standing(MessageStatus.SENT), Standing(MessageStatus.DELIVERED)
FAILED, BOUNCED = Standing(MessageStatus.FAILED), Standing(MessageStatus.BOUNCED)
PERHAPS_SENT = Standing(MessageStatus.FAILED, is_outcome_unknown=True)
NOTHING_WRONG = {"lost": 0, "doubled": 0, "unrecorded": 0, "unconfirmed": 0}


def verdict(on_handsets, **wrong):
    return Verdict(on_handsets=on_handsets, **(NOTHING_WRONG | wrong))


def handset(message, event="handset", *, reference=None):
    """One line of the handset log, about the first attempt of a message."""
    return HandsetEntry(
        event,
        NOW,
        SimulatedMessage(
            provider="TwilioSMS",
            external_message_id="SM1",
            reference=f"m{message.pk}a1" if reference is None else reference,
            recipient=message.recipient,
            body="Hello",
        ),
    )


def test_what_arrived_and_is_recorded_is_clean():
    found = compare({1: 1, 2: 1}, {1: SENT, 2: DELIVERED})

    assert found == verdict(2)
    assert found.is_clean


@pytest.mark.parametrize("standing", [SENT, FAILED, BOUNCED])
def test_what_did_not_arrive_and_was_never_said_to_is_clean(standing):
    assert compare({}, {1: standing}) == verdict(0)


@pytest.mark.parametrize(
    "standing",
    [Standing(MessageStatus.QUEUED), Standing(MessageStatus.SENDING), DELIVERED],
)
def test_a_message_that_is_neither_there_nor_given_up_is_lost(standing):
    found = compare({}, {1: standing, 2: SENT})

    assert found == verdict(0, lost=1)
    assert not found.is_clean


def test_a_message_that_arrives_more_than_once_is_doubled_once():
    found = compare({1: 2, 2: 3, 3: 1}, {1: SENT, 2: DELIVERED, 3: SENT})

    assert found == verdict(3, doubled=2)
    assert not found.is_clean


@pytest.mark.parametrize(
    "standing",
    [FAILED, BOUNCED, Standing(MessageStatus.CANCELLED)],
)
def test_an_arrival_that_the_database_denies_is_unrecorded(standing):
    found = compare({1: 1}, {1: standing})

    assert found == verdict(1, unrecorded=1)
    assert not found.is_clean


def test_an_arrival_of_no_message_is_unrecorded():
    assert compare({7: 1}, {}) == verdict(1, unrecorded=1)


@pytest.mark.parametrize("arrivals", [{}, {1: 1}])
def test_a_failure_that_owns_up_to_its_doubt_is_unconfirmed_and_no_lie(arrivals):
    found = compare(arrivals, {1: PERHAPS_SENT})

    assert found == verdict(len(arrivals), unconfirmed=1)
    assert found.is_clean


@pytest.mark.django_db
def test_the_check_reads_the_log_and_the_campaigns_it_is_asked_about():
    fine, denied, lost, doubled, doubtful = (
        MessageFactory(status=status)
        for status in (
            *[MessageStatus.SENT, MessageStatus.FAILED, MessageStatus.QUEUED],
            *[MessageStatus.DELIVERED, MessageStatus.FAILED],
        )
    )
    doubtful.unknown_since = NOW
    doubtful.save()
    elsewhere = MessageFactory(campaign=CampaignFactory())
    everything = [fine, denied, lost, doubled, doubtful]
    arrived = [handset(each) for each in (fine, denied, doubled, doubled)]

    found = check(arrived, [each.campaign_id for each in everything])

    assert found == verdict(3, lost=1, doubled=1, unrecorded=1, unconfirmed=1)
    assert elsewhere.campaign_id not in [each.campaign_id for each in everything]


@pytest.mark.django_db
def test_what_a_provider_accepted_has_not_arrived_yet():
    message = MessageFactory(status=MessageStatus.DELIVERED)

    found = check([handset(message, "accepted")], [message.campaign_id])

    assert found == verdict(0, lost=1)


@pytest.mark.django_db
def test_two_attempts_of_one_message_that_both_arrive_are_a_double():
    message = MessageFactory(status=MessageStatus.DELIVERED)
    again = handset(message, reference=f"m{message.pk}a2")

    found = check([handset(message), again], [message.campaign_id])

    assert found.doubled == 1


@pytest.mark.django_db
def test_what_others_sent_through_the_simulators_is_none_of_ours():
    message = MessageFactory(status=MessageStatus.FAILED)

    found = check([handset(message, reference="theirs")], [message.campaign_id])

    assert found == verdict(0)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.02)


@contextmanager
def child(tmp_path, script):
    """A child that runs a script, and is stopped whatever happens."""
    made = Child("c", [sys.executable, "-c", script], log=tmp_path / "log")
    try:
        yield made
    finally:
        made.stop()


def lines(tmp_path, count):
    """The child's output, once it has written so many lines."""
    log = tmp_path / "log"
    wait_for(lambda: log.exists() and log.read_text().count("\n") >= count)
    return log.read_text().split()


def is_alive(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
# The leader ends at once; the child that it leaves behind does not.
ORPHAN = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
"""
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("goodbye", flush=True)))
print("hello", flush=True)
time.sleep(60)
"""


def test_a_child_that_was_not_started_does_not_run_and_can_be_stopped(tmp_path):
    with child(tmp_path, SLEEP) as made:
        assert not made.is_running


def test_a_started_child_runs_in_a_session_of_its_own(tmp_path):
    with child(tmp_path, SLEEP) as made:
        made.start()

        (pid,) = lines(tmp_path, 1)
        assert made.is_running
        assert os.getsid(int(pid)) == int(pid) != os.getsid(0)


def test_a_child_that_ends_by_itself_no_longer_runs(tmp_path):
    with child(tmp_path, "print('done')") as made:
        made.start()

        wait_for(lambda: not made.is_running)


def test_a_stopped_child_may_say_goodbye(tmp_path):
    with child(tmp_path, POLITE) as made:
        made.start()
        lines(tmp_path, 1)

        made.stop()

        assert not made.is_running
        assert lines(tmp_path, 2) == ["hello", "goodbye"]


def test_a_restarted_child_is_a_new_process_and_counted(tmp_path):
    with child(tmp_path, SLEEP) as made:
        made.start()
        lines(tmp_path, 1)

        made.restart()

        old, new = lines(tmp_path, 2)
        assert made.is_running
        assert made.restarts == 1
        assert not is_alive(old)
        assert is_alive(new)


@pytest.mark.parametrize("end", [Child.stop, Child.restart])
def test_what_a_dead_child_left_behind_ends_with_it(tmp_path, end):
    with child(tmp_path, ORPHAN) as made:
        made.start()
        (orphan,) = lines(tmp_path, 1)
        wait_for(lambda: not made.is_running)

        end(made)

        wait_for(lambda: not is_alive(orphan))


def test_a_child_that_was_killed_can_be_restarted(tmp_path):
    with child(tmp_path, SLEEP) as made:
        made.start()
        os.kill(int(lines(tmp_path, 1)[0]), signal.SIGKILL)
        wait_for(lambda: not made.is_running)

        made.restart()

        assert made.is_running
