"""What people did to one message, from the audit log, for the message's page.

Acts on many are bulk jobs, which the page knows already.
"""

from __future__ import annotations

from marketing_platform.audit.models import AuditEvent
from messaging.models import CampaignMessage
from messaging.timeline import TimelineEntry

SHOWN_AT_MOST = 50


def acts_on(message: CampaignMessage) -> list[TimelineEntry]:
    """The events about this message, oldest first."""
    events = AuditEvent.objects.filter(
        object_type=message._meta.label, object_id=str(message.pk)
    )
    latest = list(events.order_by("-id")[:SHOWN_AT_MOST])
    return [_entry(each) for each in reversed(latest)]


def _entry(event: AuditEvent) -> TimelineEntry:
    who = event.actor or event.token or event.get_door_display()
    reason = event.changes.get("reason", "")
    facts = [f"{each}" for each in (reason, event.token, event.source) if each]
    return TimelineEntry(
        event.at, f"{event.action.capitalize()}, by {who}", facts, level="act"
    )
