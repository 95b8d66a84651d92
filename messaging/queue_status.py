"""What the queue holds, and why messages wait: for people.

Nothing here counts beyond a limit, so the cost does not grow with the queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, Max, Min, OuterRef, QuerySet, Subquery
from django.utils import timezone

from messaging.models import BulkJob, Campaign, CampaignMessage
from messaging.rules.verdicts import Awaiting
from messaging.standing import Standing, standing
from messaging.vocabulary import CampaignStatus
from routing.decision.planner import active_routes
from routing.decision.readiness import current_outages, outage_sentences, readiness
from routing.health.status import latest_attempts
from routing.health.throttles import read_capacity
from routing.look_ups import providers_to_ask
from routing.receipts.inbox import is_receipt_waiting
from routing.rules.outage import Terms
from routing.rules.route import Route
from routing.vocabulary import (
    CampaignKind,
    Channel,
    MessageStatus,
    UnknownOutcomePolicy,
)

COUNT_AT_MOST = 10_000
TERMS = ("channel", "kind")  # the columns of a campaign that routes depend on
# A campaign's progress is worth more: counting this many takes some 10 ms.
COUNT_OF_CAMPAIGN_AT_MOST = 50_000


@dataclass(frozen=True, slots=True)
class Counted:
    """A count that stops at a limit."""

    number: int
    is_all: bool = True

    def __str__(self) -> str:
        return f"{self.number:,}" if self.is_all else f"over {self.number:,}"

    def __bool__(self) -> bool:
        return self.number > 0


def count_up_to(limit: int, rows: QuerySet[Any]) -> Counted:
    """Count the rows, up to the limit.

    They should be in the order of an index. Otherwise the database may search the whole
    table for matches, past years of sent messages.
    """
    found = rows[: limit + 1].count()
    return Counted(min(found, limit), is_all=found <= limit)


# Queued messages of each running campaign, read in the order of the due index and no
# further than the limit.
COUNT_OF_LANES = """
SELECT (SELECT COUNT(*) FROM (
    SELECT 1 FROM messaging_campaignmessage AS m
    WHERE m.campaign_id = c.id AND m.status = 0 AND m.due_at {compared} %s
    ORDER BY m.due_at, m.id LIMIT %s) AS queued)
FROM messaging_campaign AS c WHERE c.status = 1
"""


def _count_queued(compared: str, now: datetime, at_most: int) -> Counted:
    """Queued messages of running campaigns whose time is `<=` or `>` now."""
    with connection.cursor() as cursor:
        sql = COUNT_OF_LANES.format(compared=compared)
        cursor.execute(sql, [now, at_most + 1])
        counts = [count for (count,) in cursor]
    number = sum(min(count, at_most) for count in counts)
    return Counted(number, is_all=all(count <= at_most for count in counts))


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the queue holds now."""

    due: Counted  # of running campaigns
    later: Counted  # scheduled, or waiting for a retry
    in_flight: Counted  # being sent by a worker
    unknown: Counted  # may have been sent: awaiting a receipt or a look-up
    oldest_due_at: datetime | None


def queue_status(*, now: datetime, at_most: int = COUNT_AT_MOST) -> QueueStatus:
    """What the queue holds now, counting at most `at_most` messages per campaign."""
    sending = CampaignMessage.objects.sending().order_by("lease_expires_at")
    held = sending[: at_most + 1]
    counts = held.aggregate(all=Count("pk"), unknown=Count("unknown_since"))
    is_all = counts["all"] <= at_most
    return QueueStatus(
        due=_count_queued("<=", now, at_most),
        later=_count_queued(">", now, at_most),
        in_flight=Counted(counts["all"] - counts["unknown"], is_all),
        unknown=Counted(counts["unknown"], is_all),
        oldest_due_at=oldest_due_at(now),
    )


@dataclass(frozen=True, slots=True)
class CampaignOverview:
    """How far a campaign is."""

    campaign: Campaign
    waiting: Counted
    next_due_at: datetime | None

    @property
    def is_paused(self) -> bool:
        """Whether an operator holds it back."""
        return self.campaign.status == CampaignStatus.PAUSED

    @property
    def gone(self) -> int | None:
        """How many messages have left the queue; None if unknown."""
        total = self.campaign.message_count
        if total is None or not self.waiting.is_all:
            return None
        return max(0, total - self.waiting.number)


def campaigns_under_way(*, at_most: int) -> Iterator[CampaignOverview]:
    """Running and paused campaigns, the most urgent first."""
    under_way = Campaign.objects.visible().filter(
        status__in=[CampaignStatus.RUNNING, CampaignStatus.PAUSED]
    )
    for campaign in under_way.order_by("status", "-priority", "-pk")[:at_most]:
        waiting = campaign.messages.queued().order_by("due_at", "id")
        counted = count_up_to(COUNT_OF_CAMPAIGN_AT_MOST, waiting)
        due = waiting.values_list("due_at", flat=True)
        yield CampaignOverview(campaign, counted, next_due_at=due.first())


def is_work_waiting(now: datetime) -> bool:
    """Whether a worker would find messages to send, to recover or to withdraw, receipts
    to apply, or a bulk job.
    """
    return (
        _may_any_leave(now)
        or CampaignMessage.objects.lease_expired(now).exists()
        or Campaign.objects.with_messages_to_withdraw(now).exists()
        or is_receipt_waiting()
        or BulkJob.objects.open().exists()
    )


def count_held(out: Iterable[Terms], *, now: datetime) -> Counted:
    """How many messages are due in the lanes of these terms."""
    counts = [
        count_up_to(COUNT_AT_MOST, each.messages.due(now).order_by("due_at", "id"))
        for each in Campaign.objects.running().of_terms(out)
    ]
    number = sum(each.number for each in counts)
    return Counted(number, is_all=all(each.is_all for each in counts))


def _may_any_leave(now: datetime) -> bool:
    """Whether messages are due that no outage holds, or that may probe a provider."""
    lanes = Campaign.objects.with_due_messages(now).order_by()
    due = {Terms(Channel(c), CampaignKind(k)) for c, k in lanes.values_list(*TERMS)}
    if not due:
        return False
    out = current_outages(now=now)
    return any(terms not in out or out[terms].probes_due(now) for terms in due)


def oldest_due_at(
    now: datetime, channel: Channel | None = None, *, except_for: Iterable[Terms] = ()
) -> datetime | None:
    """When the message that has waited longest fell due; None if none is due.

    For one channel, or for all, except for messages of some terms. Costs one index
    probe per running campaign.
    """
    first = CampaignMessage.objects.due(now).filter(campaign=OuterRef("pk"))
    running = Campaign.objects.running().annotate(
        first_due_at=Subquery(first.order_by("due_at").values("due_at")[:1])
    )
    if channel is not None:
        running = running.filter(channel=channel)
    for held_channel, kind in except_for:
        running = running.exclude(channel=held_channel, kind=kind)
    oldest: datetime | None = running.aggregate(oldest=Min("first_due_at"))["oldest"]
    return oldest


def awaiting_verdicts(*, now: datetime) -> list[Awaiting]:
    """The messages of unknown outcome that wait, by provider; most of them first."""
    unknown = CampaignMessage.objects.outcome_unknown().order_by()
    wait = timedelta(seconds=settings.QUEUE_VERDICT_SECONDS)
    rows = unknown.values("provider").annotate(
        count=Count("pk"), first=Min("unknown_since"), last=Max("unknown_since")
    )
    found = list(rows)
    routes = active_routes() if found else []
    askable = providers_to_ask() if found else []
    awaiting = [
        Awaiting(
            provider=row["provider"],
            count=row["count"],
            first_deadline=timezone.localtime(row["first"] + wait),
            last_deadline=timezone.localtime(row["last"] + wait),
            is_asked=row["provider"] in askable,
            routes=[each.config_id for each in routes if _waits(each, row["provider"])],
        )
        for row in found
    ]
    return sorted(awaiting, key=lambda each: -each.count)


def _waits(route: Route, provider: str) -> bool:
    is_waiting = route.unknown_outcome_policy == UnknownOutcomePolicy.WAIT
    return is_waiting and provider in route.in_use


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


class Outages:
    """The outages that hold messages back, in words; read when first needed."""

    def __init__(self, *, now: datetime) -> None:
        self._now = now

    def reason_for(self, message: CampaignMessage) -> str:
        """Why a message waits: its own reason, or the outage that holds its lane."""
        return self._held(message) or message.reason_shown(now=self._now)

    def standing(self, message: CampaignMessage) -> Standing:
        """The same in a few words."""
        is_held = bool(self._held(message))
        return standing(message, is_held=is_held, now=self._now)

    def _held(self, message: CampaignMessage) -> str:
        is_due = (
            message.status == MessageStatus.QUEUED
            and message.due_at <= self._now
            and message.campaign.status == CampaignStatus.RUNNING
        )
        return self.holding(message.campaign) if is_due else ""

    def holding(self, campaign: Campaign) -> str:
        """The outage that holds the campaign's due messages; "" if none does."""
        return self._in_words.get(campaign.terms, "")

    @cached_property
    def _in_words(self) -> dict[Terms, str]:
        return outage_sentences(current_outages(now=self._now), now=self._now)


def waits(*, now: datetime) -> list[Wait]:
    """What is in the queue, grouped by why it waits; the most urgent first."""
    outages = Outages(now=now)
    held = Campaign.objects.filter(status__in=[CampaignStatus.RUNNING, *_HELD])
    held = held.holding_queued_messages().order_by("-priority", "id")
    found = [
        wait
        for campaign in held[:CAMPAIGNS_AT_MOST]
        for wait in _waits_of(campaign, outages, now)
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


def _waits_of(campaign: Campaign, outages: Outages, now: datetime) -> Iterator[Wait]:
    queued = campaign.messages.queued().order_by("due_at", "id")
    if held := _HELD.get(CampaignStatus(campaign.status)):
        count = count_up_to(COUNT_AT_MOST, queued)
        yield Wait(count, f'campaign {campaign.pk} ("{campaign.name}") {held}')
        return
    rows = list(queued.values_list("status_reason", "due_at")[: COUNT_AT_MOST + 1])
    is_all = len(rows) <= COUNT_AT_MOST
    held = outages.holding(campaign) if rows and rows[0][1] <= now else ""
    times: dict[str, list[datetime]] = {}
    for reason, due_at in rows:
        default = _LATER if due_at > now else _DUE
        text = held if held and due_at <= now else reason or default
        times.setdefault(text, []).append(due_at)
    for reason, alike in times.items():
        text = _throttled(campaign, now) if reason == _DUE else reason
        next_at = None if held and text == held else max(alike[0], now)
        yield Wait(Counted(len(alike), is_all), text, next_at)


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
