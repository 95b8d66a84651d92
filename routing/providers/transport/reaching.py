"""Whose fault it is that a call did not reach the provider: perhaps this host's own."""

from __future__ import annotations

import errno
import socket

from routing.providers.base import HostFault, SendFailure, Unreached

# What this host ran out of. No other provider would be reached either.
_OUT_OF = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EADDRNOTAVAIL,  # no free port
}
# There is no way there: from this host, or at all.
_NO_WAY = {errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EHOSTDOWN}


def not_reached(error: BaseException, reason: str) -> SendFailure:
    """The failure of a call that ended with this error before anything was written."""
    if isinstance(error, OSError) and error.errno in _OUT_OF:
        return HostFault(f"This host could not call: {reason}")
    return Unreached(
        f"The provider could not be reached: {reason}",
        may_be_ours=has_no_way(error),
    )


def has_no_way(error: BaseException) -> bool:
    """Whether there was no route, or no address for the name."""
    if isinstance(error, socket.gaierror):
        return True
    return isinstance(error, OSError) and error.errno in _NO_WAY
