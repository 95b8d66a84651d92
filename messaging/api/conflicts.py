"""What services refuse because of the present state is answered 409."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from messaging.campaigns import CampaignError
from messaging.interventions import InterventionRefused
from routing.api.problems import Conflict


@contextmanager
def conflicts() -> Iterator[None]:
    """Around the call of a service."""
    try:
        yield
    except (CampaignError, InterventionRefused) as error:
        raise Conflict(str(error)) from error
