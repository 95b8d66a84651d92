"""A child process obeys, and takes its own children with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager

import pytest

from marketing_platform.demo.child_process import Child

PATIENCE = 10  # seconds


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.02)


@contextmanager
def child(tmp_path, script):
    """A child that runs a script, and is always stopped."""
    made = Child("c", [sys.executable, "-c", script], log=tmp_path / "log")
    try:
        yield made
    finally:
        made.stop()


def lines(tmp_path, count):
    """The child's first lines of output."""
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


def test_a_restarted_child_is_a_new_process(tmp_path):
    with child(tmp_path, SLEEP) as made:
        made.start()
        lines(tmp_path, 1)

        made.restart()

        old, new = lines(tmp_path, 2)
        assert made.is_running
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
