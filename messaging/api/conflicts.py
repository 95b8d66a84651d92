"""Services' refusals as HTTP errors: 409 if the current state does not allow the
request, 413 if it is too large.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from messaging.campaigns import CampaignError, TooMuchText
from messaging.message_actions import InterventionRefused
from routing.api.conventions.problems import BodyTooLarge, Conflict


@contextmanager
def conflicts() -> Iterator[None]:
    """Wrap a service call, and translate its refusals."""
    try:
        yield
    except TooMuchText as error:
        raise BodyTooLarge(str(error)) from error
    except (CampaignError, InterventionRefused) as error:
        raise Conflict(str(error)) from error
