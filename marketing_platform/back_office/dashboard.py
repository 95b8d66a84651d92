"""The front page. Each panel is shown to users with the permission for its subject.

All numbers come from indexes, from the statistics, or from rows counted up to a limit:
the page costs the same on the first day and after years.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from marketing_platform.back_office.delivery import (
    campaigns,
    channels,
    tiles,
    workers,
)
from marketing_platform.back_office.failures import failures
from marketing_platform.back_office.findings import findings
from marketing_platform.back_office.provider_cards import providers
from marketing_platform.back_office.today import today
from routing.health.status import latest_attempts

Allows = Callable[[str], bool]


# Panel -> the permission to see it, and its content.
PANELS: dict[str, tuple[str, Callable[[datetime], Any]]] = {
    "findings": (
        "messaging.view_workerheartbeat",
        lambda now: findings(clock=lambda: now),
    ),
    "today": (
        "routing.view_statisticsentry",
        lambda now: today(now=now),
    ),
    "tiles": (
        "messaging.view_campaignmessage",
        lambda now: tiles(now=now),
    ),
    "providers": (
        "routing.view_providerhealth",
        lambda now: providers(latest_attempts(now=now), now=now),
    ),
    "failures": (
        "messaging.view_campaignmessage",
        lambda now: failures(now=now),
    ),
    "campaigns": (
        "messaging.view_campaign",
        lambda now: campaigns(now=now),
    ),
    "workers": (
        "messaging.view_workerheartbeat",
        lambda now: workers(now=now),
    ),
    "channels": (
        "routing.view_statisticsentry",
        lambda now: channels(now=now),
    ),
}


def dashboard(*, may_see: Allows, now: datetime) -> dict[str, Any]:
    """The panels that a user with these permissions may see."""
    panels = {
        name: look_at(now)
        for name, (permission, look_at) in PANELS.items()
        if may_see(permission)
    }
    return {
        "looked_at": now,
        "has_panels": bool(panels),
        "may_act": may_see("routing.pause_provider"),
        "may_retry": may_see("messaging.change_campaignmessage"),
        **panels,
    }
