"""The end of a cluster whose watchdog was killed: none of its processes stays behind.

The pusher asks the cluster's first process to leave, which then ends the others, in
order. Where that process is dead, too, or hangs, nobody is left to end them: so each of
them sees to its own end.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from routing.timer import Timer

# In the environment of a cluster that `messaging.cluster.watchdog` watches: the end of
# a pipe, by number, that is closed at the other end when the watchdog dies.
WATCHED_VARIABLE = "QCLUSTER_WATCHDOG"
# How long a drain may take to finish what is in flight: two calls of a provider that
# does not answer, the second one a fallback.
LEAVE_WITHIN = timedelta(seconds=75)
LOOK_SECONDS = 1.0

_draining = threading.Event()  # in this process


def is_watchdog_gone() -> bool:
    """Whether this process is of a watched cluster, and its watchdog has died."""
    pipe = os.environ.get(WATCHED_VARIABLE)
    return pipe is not None and bool(select.select([int(pipe)], [], [], 0)[0])


@contextmanager
def draining() -> Iterator[None]:
    """While this lasts, the process finishes what is in flight before it ends."""
    _draining.set()
    try:
        yield
    finally:
        _draining.clear()


def watch_in_forks() -> None:
    """Let each process that is forked from this one see to its end from now on.

    Called by the cluster's first process, before it forks the others.
    """
    if WATCHED_VARIABLE in os.environ:
        os.register_at_fork(after_in_child=_watch)


def _watch() -> None:
    threading.Thread(target=_end_with_watchdog, name="cluster-end", daemon=True).start()


def _end_with_watchdog() -> None:
    """1. The watchdog is gone.
    2. As long as the first process lives, or a drain, it may all go in order.
    3. Nobody is left to end this process, or nothing moves: it ends by itself.
    """
    while not is_watchdog_gone():
        time.sleep(LOOK_SECONDS)
    patience = Timer(LEAVE_WITHIN)
    while _is_first_process_there() or _draining.is_set():
        if patience.is_over():
            os.killpg(os.getpgrp(), signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_first_process_there() -> bool:
    try:
        os.kill(os.getpgrp(), 0)
    except ProcessLookupError:
        return False
    return True
