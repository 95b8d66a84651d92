"""The front page. Each panel is shown to users with the permission for its subject.

All numbers come from indexes, from the statistics, or from rows counted up to a limit:
the page costs the same on the first day and after years.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any

from marketing_platform.back_office.delivery import (
    campaigns,
    channels,
    providers,
    tiles,
    workers,
)
from marketing_platform.back_office.findings import findings
from routing.health.status import LatestAttempt, latest_attempts

Allows = Callable[[str], bool]


class Look:
    """Data used by several panels, read once."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    @cached_property
    def latest(self) -> list[LatestAttempt]:
        """The attempts of the last minutes."""
        return latest_attempts(now=self.now)


# Panel -> the permission to see it, and its content.
PANELS: dict[str, tuple[str, Callable[[Look], Any]]] = {
    "findings": (
        "messaging.view_workerheartbeat",
        lambda look: findings(clock=lambda: look.now),
    ),
    "tiles": (
        "messaging.view_campaignmessage",
        lambda look: tiles(look.latest, now=look.now),
    ),
    "providers": (
        "routing.view_providerhealth",
        lambda look: providers(look.latest, now=look.now),
    ),
    "campaigns": (
        "messaging.view_campaign",
        lambda look: campaigns(now=look.now),
    ),
    "workers": (
        "messaging.view_workerheartbeat",
        lambda look: workers(now=look.now),
    ),
    "channels": (
        "routing.view_statisticsentry",
        lambda look: channels(now=look.now),
    ),
}


def dashboard(*, may_see: Allows, now: datetime) -> dict[str, Any]:
    """The panels that a user with these permissions may see."""
    look = Look(now)
    panels = {
        name: look_at(look)
        for name, (permission, look_at) in PANELS.items()
        if may_see(permission)
    }
    return {"looked_at": now, "has_panels": bool(panels), **panels}
