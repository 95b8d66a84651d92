"""The tables of messaging."""

from messaging.models.campaigns import (
    Campaign,
    CampaignMessage,
    CampaignMessageQuerySet,
    CampaignQuerySet,
)
from messaging.models.suppressions import Suppression
from messaging.models.workers import WorkerHeartbeat, WorkerHeartbeatQuerySet

__all__ = [
    "Campaign",
    "CampaignMessage",
    "CampaignMessageQuerySet",
    "CampaignQuerySet",
    "Suppression",
    "WorkerHeartbeat",
    "WorkerHeartbeatQuerySet",
]
