"""Links from the front page to lists, with their filters set."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from marketing_platform.audit.models import Door
from messaging.vocabulary import CampaignStatus
from routing.vocabulary import ErrorClass, MessageStatus


def listed(model: str, **filters: Any) -> str:
    """The address of a model's list (`messaging_campaign`) with these filters set."""
    address = reverse(f"admin:{model}_changelist")
    return f"{address}?{urlencode(filters)}" if filters else address


MESSAGES, ATTEMPTS = "messaging_campaignmessage", "routing_messagedeliveryattempt"
WEBHOOKS = "routing_webhookcount"

# By the name of the check: the list that shows what it found.
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "workers": ("messaging_workerheartbeat", {}),
    "one_writer": ("messaging_workerheartbeat", {}),
    "clocks": ("messaging_workerheartbeat", {}),
    "queue": (MESSAGES, {"status__exact": MessageStatus.QUEUED.value}),
    "leases": (MESSAGES, {"status__exact": MessageStatus.SENDING.value}),
    "routes": ("routing_channelroutingconfig", {"is_active__exact": 1}),
    "unknown_outcomes": (MESSAGES, {"outcome": "unknown"}),
    "quarantine": (MESSAGES, {"outcome": "quarantined"}),
    "possible_duplicates": (MESSAGES, {"outcome": "double"}),
    "unmapped_errors": (
        ATTEMPTS,
        {"when": "24h", "error_class__exact": ErrorClass.UNMAPPED.value},
    ),
    "account_errors": (
        ATTEMPTS,
        {"when": "24h", "error_class__exact": ErrorClass.ACCOUNT.value},
    ),
    "refused_tasks": (
        "marketing_platform_auditevent",
        {"action__exact": "refuse task"},
    ),
    "log_ins": ("marketing_platform_auditevent", {"door__exact": Door.ADMIN.value}),
    "webhook_refusals": (WEBHOOKS, {}),
    "missing_receipts": (WEBHOOKS, {}),
    "deliveries": ("routing_deliveryreceipt", {}),
    "paused_providers": ("routing_providerpause", {}),
    "breakers": ("routing_providerhealth", {}),
    "bulk_jobs": ("messaging_bulkjob", {}),
    "paused_campaigns": (
        "messaging_campaign",
        {"status__exact": CampaignStatus.PAUSED.value},
    ),
}


def behind_finding(check: str) -> str:
    """The list that shows what the check found; "" if there is none."""
    if check not in LISTS:
        return ""
    model, filters = LISTS[check]
    return listed(model, **filters)
