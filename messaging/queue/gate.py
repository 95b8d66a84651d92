"""The gate: which messages must not leave, and why: a STOP, a pause, the night."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.conf import settings

from messaging.consent.suppression import suppressed_among
from messaging.queue.claimed import AnyMessage
from messaging.rules.quiet_hours import QuietHours, quiet_at
from messaging.rules.time_zones import zones_of
from messaging.transitions import Hold
from messaging.vocabulary import CampaignStatus
from routing.text.recipient_keys import address_key
from routing.vocabulary import Channel, MessageStatus

_SUPPRESSED = Hold(MessageStatus.SUPPRESSED, "The address is suppressed.")
_CANCELLED = Hold(MessageStatus.CANCELLED, "The campaign was cancelled.")
_PAUSED = Hold(MessageStatus.QUEUED, "The campaign is paused.")
EXPIRED = Hold(MessageStatus.EXPIRED, "The message expired while it waited.")


def holds_on(messages: Iterable[AnyMessage], *, now: datetime) -> dict[int, Hold]:
    """The holds on messages that must not leave, by message id.

    The messages must have their campaigns loaded, and come from `with_suppression`.
    """
    messages = list(messages)
    stopped = _suppressed_elsewhere(messages)
    verdicts = {
        message.pk: _SUPPRESSED
        if message.suppression_id or message.pk in stopped
        else _hold(message, now)
        for message in messages
    }
    return {pk: verdict for pk, verdict in verdicts.items() if verdict}


def _suppressed_elsewhere(messages: Sequence[AnyMessage]) -> set[int]:
    """Messages whose recipient is suppressed under another spelling; few have one."""
    respelt = {
        message.pk: (message.recipient, message.campaign.kind)
        for message in messages
        if address_key(message.recipient) != message.recipient
    }
    if not respelt:
        return set()
    suppressed = suppressed_among(respelt.values())
    return {pk for pk, recipient in respelt.items() if recipient in suppressed}


def _hold(message: AnyMessage, now: datetime) -> Hold | None:
    if message.campaign.status == CampaignStatus.CANCELLED:
        return _CANCELLED
    if message.is_expired(now):
        return EXPIRED
    if message.campaign.status == CampaignStatus.PAUSED:
        return _PAUSED
    hours = message.campaign.quiet_hours
    return _quiet(message, hours, now) if hours else None


def _quiet(message: AnyMessage, hours: QuietHours, now: datetime) -> Hold | None:
    """Hold until quiet hours end for the recipient, or until the message expires."""
    zones = zones_of(
        Channel(message.channel), message.recipient, message.country, now=now
    )
    quiet = quiet_at(hours, now, zones=zones, home=settings.TIME_ZONE)
    if quiet is None:
        return None
    due_at = min(quiet.until, message.expiry or quiet.until)
    return Hold(MessageStatus.QUEUED, str(quiet), due_at)
