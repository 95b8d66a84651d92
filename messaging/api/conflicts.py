"""What services refuse because of the present state is answered 409; 413 what is too
much at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from messaging.campaigns import CampaignError, TooMuchText
from messaging.message_actions import InterventionRefused
from routing.api.conventions.problems import BodyTooLarge, Conflict


@contextmanager
def conflicts() -> Iterator[None]:
    """Around the call of a service."""
    try:
        yield
    except TooMuchText as error:
        raise BodyTooLarge(str(error)) from error
    except (CampaignError, InterventionRefused) as error:
        raise Conflict(str(error)) from error
