"""Retry policies of the installation's own: which of them a route may name.

Whoever may edit routes, over the API as well, gives a path as a text. It is imported
and called only if the settings list it: an import runs code, and not every function
is harmless to call.
"""

from __future__ import annotations

from django.conf import settings
from django.utils.module_loading import import_string

from routing.rules.retry import RetryPolicy


class PolicyNotUsable(ImportError):
    """No retry policy; the text says why."""


def load_policy(path: str) -> RetryPolicy:
    """The function of a path that RETRY_POLICIES lists; PolicyNotUsable for others."""
    allowed = settings.RETRY_POLICIES
    if path not in allowed:
        known = ", ".join(allowed) or "none yet"
        raise PolicyNotUsable(
            f"{path!r} is not in the setting RETRY_POLICIES, which has: {known}."
        )
    try:
        policy = import_string(path)
    except Exception as error:
        raise PolicyNotUsable(f"{path!r} cannot be imported: {error}.") from error
    if not callable(policy):
        raise PolicyNotUsable(f"{path!r} must be callable with the history.")
    return policy  # type: ignore[no-any-return]  # what it returns, GuardedRetry checks
