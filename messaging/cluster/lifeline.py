"""No process of a cluster outlives its parent.

django-q2 stops its processes from the top down. If a process that has children is
killed, they stay behind, next to the cluster that replaces theirs. So each process asks
the kernel for a signal, ORPHANED, when its parent dies (on Linux; other systems have no
such call). An idle process ends at once. A drain first finishes what is in flight.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

ORPHANED = signal.SIGHUP
PR_SET_PDEATHSIG = 1

_forker = 0  # the parent of the process that is forked next; 0: not attached


def attach(parent: int) -> None:
    """Tie this process to `parent`, and all that it forks to theirs."""
    global _forker
    _forker = parent
    signal.signal(ORPHANED, signal.SIG_DFL)  # nohup ignores it
    os.register_at_fork(after_in_child=_attach)
    _attach()


def is_attached() -> bool:
    """Whether this process belongs to a cluster with a watchdog."""
    return bool(_forker)


def _attach() -> None:
    global _forker
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(ORPHANED))
        if os.getppid() != _forker:  # it has died already
            signal.raise_signal(ORPHANED)
    _forker = os.getpid()
