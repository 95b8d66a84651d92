"""The tables of messaging."""

from messaging.models.campaigns import (
    ERASED_RECIPIENT,
    Campaign,
    CampaignMessage,
    CampaignMessageQuerySet,
    CampaignQuerySet,
    MessageFacts,
    usual_quiet_hours,
)
from messaging.models.idempotency import KeptAnswer, KeptAnswerQuerySet
from messaging.models.jobs import BulkJob, BulkJobMessage, BulkJobQuerySet
from messaging.models.retention import RetentionMark, RetentionMarkQuerySet
from messaging.models.suppressions import Suppression, usual_scope
from messaging.models.workers import (
    ClusterHeartbeat,
    ClusterHeartbeatQuerySet,
    WorkerHeartbeat,
    WorkerHeartbeatQuerySet,
)

__all__ = [
    "ERASED_RECIPIENT",
    "BulkJob",
    "BulkJobMessage",
    "BulkJobQuerySet",
    "Campaign",
    "CampaignMessage",
    "CampaignMessageQuerySet",
    "CampaignQuerySet",
    "ClusterHeartbeat",
    "ClusterHeartbeatQuerySet",
    "KeptAnswer",
    "KeptAnswerQuerySet",
    "MessageFacts",
    "RetentionMark",
    "RetentionMarkQuerySet",
    "Suppression",
    "WorkerHeartbeat",
    "WorkerHeartbeatQuerySet",
    "usual_quiet_hours",
    "usual_scope",
]
