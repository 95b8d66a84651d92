"""Nothing of a cluster outlives its watchdog: each process hangs on its parent.

django-q2 ends its processes from above, in order. When one with children is killed,
they would stay behind, idle or in mid-drain, beside the cluster that takes its place.
So the kernel sends ORPHANED to each of them when its parent dies (Linux; others have no
such call). An idle process ends at once; a drain finishes what is in flight first.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

ORPHANED = signal.SIGHUP
PR_SET_PDEATHSIG = 1

_forker = 0  # the parent of the process that is forked next; 0: it need not care


def attach(parent: int) -> None:
    """Let this process, a child of `parent`, and all that it forks hang on theirs."""
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
        if os.getppid() != _forker:  # it died before that
            signal.raise_signal(ORPHANED)
    _forker = os.getpid()
