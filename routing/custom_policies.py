"""The installation's own retry policies: which of them a route may use.

People who edit routes, or programs over the API, give a path as a text. It is imported
and called only if the settings list it, because importing runs code, and calling an
arbitrary function may do harm.
"""

from __future__ import annotations

from django.conf import settings
from django.utils.module_loading import import_string

from routing.rules.retry import RetryPolicy


class PolicyNotUsable(ImportError):
    """Not a usable retry policy; the text says why."""


def load_policy(path: str) -> RetryPolicy:
    """The function of a path listed in RETRY_POLICIES; otherwise PolicyNotUsable."""
    allowed = settings.RETRY_POLICIES
    if path not in allowed:
        known = ", ".join(allowed) or "none yet"
        raise PolicyNotUsable(
            f"{path!r} is not in the setting RETRY_POLICIES, which lists: {known}."
        )
    try:
        policy = import_string(path)
    except Exception as error:
        raise PolicyNotUsable(f"{path!r} cannot be imported: {error}.") from error
    if not callable(policy):
        raise PolicyNotUsable(f"{path!r} must be callable with the history.")
    return policy  # type: ignore[no-any-return]  # GuardedRetry checks its results
