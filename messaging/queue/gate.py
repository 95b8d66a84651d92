"""The gate: which messages must not leave any more, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from messaging.addresses import address_key
from messaging.models import Suppression
from messaging.queue.due import AnyMessage
from messaging.quiet_hours import QuietHours, quiet_at
from messaging.time_zones import zones_of
from messaging.vocabulary import CampaignStatus, SuppressionScope
from routing.vocabulary import CampaignKind, Channel, MessageStatus


@dataclass(frozen=True, slots=True)
class Refusal:
    """What becomes of a message that the gate holds back, and what people read."""

    status: MessageStatus
    reason: str
    due_at: datetime | None = None  # when it may try again; None: as it was

    def finished_at(self, now: datetime) -> datetime | None:
        """When its message ended; None when it only waits."""
        return None if self.status == MessageStatus.QUEUED else now


_SUPPRESSED = Refusal(MessageStatus.SUPPRESSED, "The address is suppressed.")
_CANCELLED = Refusal(MessageStatus.CANCELLED, "The campaign was cancelled.")
_PAUSED = Refusal(MessageStatus.QUEUED, "The campaign is paused.")
_EXPIRED = Refusal(MessageStatus.EXPIRED, "It expired while it waited.")


def refusals_of(messages: Iterable[AnyMessage], *, now: datetime) -> dict[int, Refusal]:
    """Those that must not leave, by id.

    The messages come with their campaigns, and `with_suppression`.
    """
    messages = list(messages)
    stopped = _suppressed_elsewhere(messages)
    verdicts = {
        message.pk: _SUPPRESSED
        if message.suppression_id or message.pk in stopped
        else _refusal(message, now)
        for message in messages
    }
    return {pk: verdict for pk, verdict in verdicts.items() if verdict}


def _suppressed_elsewhere(messages: Sequence[AnyMessage]) -> set[int]:
    """Those whose recipient is suppressed under another spelling; few have any."""
    keys = {
        message.pk: key
        for message in messages
        if (key := address_key(message.recipient)) != message.recipient
    }
    if not keys:
        return set()
    rows = Suppression.objects.filter(address__in=keys.values())
    scopes = dict(rows.values_list("address", "scope"))
    return {
        message.pk
        for message in messages
        if (scope := scopes.get(keys.get(message.pk, ""))) == SuppressionScope.ALL
        or (scope is not None and message.campaign.kind == CampaignKind.MARKETING)
    }


def _refusal(message: AnyMessage, now: datetime) -> Refusal | None:
    if message.campaign.status == CampaignStatus.CANCELLED:
        return _CANCELLED
    if message.is_expired(now):
        return _EXPIRED
    if message.campaign.status == CampaignStatus.PAUSED:
        return _PAUSED
    hours = message.campaign.quiet_hours
    return _quiet(message, hours, now) if hours else None


def _quiet(message: AnyMessage, hours: QuietHours, now: datetime) -> Refusal | None:
    """Until they end for its recipient, or it expires, which is then its end."""
    zones = zones_of(
        Channel(message.channel), message.recipient, message.country, now=now
    )
    quiet = quiet_at(hours, now, zones=zones, home=settings.TIME_ZONE)
    if quiet is None:
        return None
    due_at = min(quiet.until, message.expiry or quiet.until)
    return Refusal(MessageStatus.QUEUED, str(quiet), due_at)
