"""How a message stands, in a few words: for lists. `reason_shown` has the long form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from messaging.models import CampaignMessage
from messaging.vocabulary import CampaignStatus
from routing.text.quantities import quantity
from routing.vocabulary import MessageStatus

_HELD = {
    CampaignStatus.DRAFT: "Held: campaign is a draft",
    CampaignStatus.PAUSED: "Held: campaign paused",
    CampaignStatus.CANCELLED: "Campaign cancelled: to be withdrawn",
}
_RETRY = re.compile(r"Retrying \(.*?(?P<count>\d+ of \d+)\)")
_QUIET = re.compile(r"Quiet hours until \d\d:\d\d")
_LEVELS = {
    MessageStatus.SENT: "quiet",
    MessageStatus.DELIVERED: "ok",
    MessageStatus.FAILED: "fail",
    MessageStatus.BOUNCED: "fail",
    MessageStatus.CANCELLED: "quiet",
    MessageStatus.SUPPRESSED: "quiet",
    MessageStatus.EXPIRED: "warn",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A state in words, and its level: ok, warn, fail, wait or quiet."""

    level: str
    text: str


def standing(
    message: CampaignMessage, *, is_held: bool = False, now: datetime
) -> Standing:
    """How the message stands; if it waits, for what and until when.

    Its campaign should be loaded. `is_held`: an outage holds back what is due.
    """
    match MessageStatus(message.status):
        case MessageStatus.QUEUED:
            return Standing("wait", _waiting(message, is_held, now))
        case MessageStatus.SENDING if message.is_outcome_unknown:
            return Standing("warn", f"Unknown: {_verdict(message, now)}")
        case MessageStatus.SENDING:
            return Standing("wait", f"Sending by {message.provider}")
        case MessageStatus.FAILED:
            return Standing("fail", _failed(message))
        case status:
            if message.double_risk_at:
                return Standing("warn", f"{status.label}, perhaps twice")
            return Standing(_LEVELS[status], status.label)


def _waiting(message: CampaignMessage, is_held: bool, now: datetime) -> str:
    if held := _HELD.get(CampaignStatus(message.campaign.status)):
        return held
    if message.due_at <= now:
        return "Held: no provider in use" if is_held else "Due: waiting for a worker"
    reason, at = message.status_reason, clock(message.due_at, now=now)
    if quiet := _QUIET.match(reason):
        return quiet[0]
    if retry := _RETRY.match(reason):
        return f"Retrying {at} ({retry['count']})"
    if message.attempt_count:
        return f"Retrying {at}"
    return f"Waiting until {at}" if reason else f"Scheduled for {at}"


def _verdict(message: CampaignMessage, now: datetime) -> str:
    wait = timedelta(seconds=settings.QUEUE_VERDICT_SECONDS)
    deadline = (message.unknown_since or now) + wait
    if message.lease_owner:
        return f"asking {message.provider}"
    if (next_at := message.lease_expires_at) and next_at < deadline:
        return f"{message.provider} is asked {clock(next_at, now=now)}"
    return f"waiting for a receipt until {clock(deadline, now=now)}"


def _failed(message: CampaignMessage) -> str:
    if message.quarantined_at:
        return "Failed: quarantined"
    if message.is_outcome_unknown:
        return "Failed: outcome unknown"
    if message.retry_count:
        return f"Failed after {quantity(message.retry_count, 'retry', 'retries')}"
    return "Failed"


def clock(at: datetime, *, now: datetime) -> str:
    """A local time such as 07:24:12; with the day if that is not today."""
    local = timezone.localtime(at)
    is_today = local.date() == timezone.localtime(now).date()
    return f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M}"


def described(message: CampaignMessage, reason: str, *, now: datetime) -> str:
    """The same as a sentence, with the reason in full."""
    said = f": {reason.rstrip('.')}." if reason else "."
    match MessageStatus(message.status):
        case MessageStatus.QUEUED:
            return f"It has not left{said}"
        case MessageStatus.SENDING if message.is_outcome_unknown:
            return f"Nobody knows yet whether {message.provider} has sent it{said}"
        case MessageStatus.SENDING:
            return f"A worker is giving it to {message.provider}{said}"
        case MessageStatus.SENT:
            at = clock(message.sent_at or now, now=now)
            return f"{message.provider} accepted it, {at}; no final receipt has come."
        case status:
            at = clock(message.finished_at or now, now=now)
            return f"{status.label}, {at}{said}"
