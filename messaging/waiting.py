"""Why messages wait, in words, for people who see that nothing leaves.

Only the first messages of each campaign are read, so the cost does not grow with the
queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min
from django.utils import timezone

from messaging.models import Campaign, CampaignMessage
from messaging.queue_status import COUNT_AT_MOST, Counted, count_up_to
from messaging.vocabulary import CampaignStatus
from routing.decision.readiness import readiness
from routing.health.status import latest_attempts
from routing.health.throttles import read_capacity
from routing.vocabulary import CampaignKind, Channel

CAMPAIGNS_AT_MOST = 20
_LATER, _DUE = "scheduled for later", "due, and not claimed yet"
_HELD = {
    CampaignStatus.DRAFT: "is a draft: launch it",
    CampaignStatus.PAUSED: "is paused: resume it",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """Messages that wait for the same reason."""

    count: Counted
    reason: str
    next_at: datetime | None = None  # when the first of them is tried again

    def __str__(self) -> str:
        at = f" Next try {local_time(self.next_at)}." if self.next_at else ""
        return f"{self.count} waiting: {self.reason.rstrip('.')}.{at}"


def local_time(at: datetime) -> str:
    """A time in this host's time zone, for people to read."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}"


def waits(*, now: datetime) -> list[Wait]:
    """What is in the queue, grouped by why it waits; the most urgent first."""
    held = Campaign.objects.filter(status__in=[CampaignStatus.RUNNING, *_HELD])
    held = held.holding_queued_messages().order_by("-priority", "id")
    found = [
        wait
        for campaign in held[:CAMPAIGNS_AT_MOST]
        for wait in _waits_of(campaign, now)
    ]
    return [*_together(found), *_without_verdict()]


def last_errors(found: Iterable[Wait], *, now: datetime) -> dict[str, str]:
    """The latest error of each provider that the reasons name."""
    reasons = " ".join(wait.reason for wait in found)
    errors: dict[str, str] = {}
    for attempt in latest_attempts(now=now):
        if attempt.error and attempt.provider in reasons:
            errors.setdefault(attempt.provider, attempt.error)
    return errors


def _waits_of(campaign: Campaign, now: datetime) -> Iterator[Wait]:
    queued = campaign.messages.queued().order_by("due_at", "id")
    if held := _HELD.get(CampaignStatus(campaign.status)):
        count = count_up_to(COUNT_AT_MOST, queued)
        yield Wait(count, f'campaign {campaign.pk} ("{campaign.name}") {held}')
        return
    rows = list(queued.values_list("status_reason", "due_at")[: COUNT_AT_MOST + 1])
    is_all = len(rows) <= COUNT_AT_MOST
    times: dict[str, list[datetime]] = {}
    for reason, due_at in rows:
        default = _LATER if due_at > now else _DUE
        times.setdefault(reason or default, []).append(due_at)
    for reason, alike in times.items():
        text = _throttled(campaign, now) if reason == _DUE else reason
        yield Wait(Counted(len(alike), is_all), text, next_at=max(alike[0], now))


def _throttled(campaign: Campaign, now: datetime) -> str:
    """Why a message is due but no claim has read it yet."""
    names = _providers_of(*campaign.terms)
    capacity = read_capacity(names)
    throttles = [
        f"{name} takes {capacity.describe(name, now)}"
        for name in names
        if name in capacity.rows
    ]
    return "; ".join(throttles) or _DUE


def _providers_of(channel: Channel, kind: CampaignKind) -> Sequence[str]:
    routes = readiness(channel, kind)
    return list(dict.fromkeys(name for each in routes for name in each.route.in_use))


def _together(found: Iterable[Wait]) -> list[Wait]:
    """One entry per reason, across campaigns."""
    by_reason: dict[str, list[Wait]] = {}
    for wait in found:
        by_reason.setdefault(wait.reason, []).append(wait)
    return [
        Wait(
            Counted(
                sum(each.count.number for each in alike),
                is_all=all(each.count.is_all for each in alike),
            ),
            reason,
            min((each.next_at for each in alike if each.next_at), default=None),
        )
        for reason, alike in by_reason.items()
    ]


def _without_verdict() -> Iterator[Wait]:
    unknown = CampaignMessage.objects.outcome_unknown()
    if count := count_up_to(COUNT_AT_MOST, unknown.order_by("lease_expires_at")):
        until = unknown.aggregate(first=Min("lease_expires_at"))["first"]
        yield Wait(count, "perhaps sent: awaiting a receipt or a look-up", until)
