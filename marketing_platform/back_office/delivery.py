"""The panels of the front page: queue, campaigns, workers and channels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from marketing_platform.back_office.links import MESSAGES, listed
from marketing_platform.diagnosis.findings import Level, span
from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.queue_status import (
    COUNT_AT_MOST,
    CampaignOverview,
    campaigns_under_way,
    queue_status,
)
from routing.receipts.inbox import inbox_status
from routing.rules.charts import Amount, Chart, chart
from routing.rules.figures import delivery_rate
from routing.rules.period import Period
from routing.rules.tally import Tally, day_of
from routing.statistics.reports import statistics_report
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

AT_MOST = 10  # rows of campaigns or workers; the lists show all
A_WEEK = timedelta(days=6)  # before today


@dataclass(frozen=True, slots=True)
class Tile:
    """One number, what it means, and the list behind it."""

    label: str
    value: str
    note: str
    href: str
    level: Level = Level.OK


def tiles(*, now: datetime) -> list[Tile]:
    """The queue in six numbers."""
    queue = queue_status(now=now)
    waited = now - queue.oldest_due_at if queue.oldest_due_at else timedelta(0)
    is_late = waited.total_seconds() > settings.QUEUE_STALLED_SECONDS
    queued = listed(MESSAGES, status__exact=MessageStatus.QUEUED.value)
    return [
        Tile(
            "Due now",
            str(queue.due),
            f"oldest: {span(waited)}" if queue.oldest_due_at else "none waiting",
            queued,
            Level.FAIL if is_late else Level.OK,
        ),
        Tile("Not due yet", str(queue.later), "scheduled or postponed", queued),
        Tile(
            "Being sent",
            str(queue.in_flight),
            "by workers, now",
            listed(MESSAGES, status__exact=MessageStatus.SENDING.value),
        ),
        Tile(
            "Outcome unknown",
            str(queue.unknown),
            "may have been sent; waiting for a verdict",
            listed(MESSAGES, outcome="unknown"),
            Level.WARN if queue.unknown else Level.OK,
        ),
        _receipts_waiting(now),
        _workers_alive(now),
    ]


def _receipts_waiting(now: datetime) -> Tile:
    status = inbox_status(at_most=COUNT_AT_MOST)
    oldest = status.oldest_received_at
    age = now - oldest if oldest else timedelta(0)
    is_late = age.total_seconds() > settings.RECEIPTS_STALLED_SECONDS
    level = Level.WARN if status.set_aside else Level.OK
    note = f"oldest: {span(age)}" if oldest else "all applied"
    if status.set_aside:
        note += f"; set aside: {status.set_aside:,}"
    return Tile(
        "Receipts waiting",
        f"{status.waiting:,}",
        note,
        listed("routing_waitingreceipt"),
        Level.FAIL if is_late else level,
    )


def _workers_alive(now: datetime) -> Tile:
    alive = WorkerHeartbeat.objects.alive(now).count()
    clusters = ClusterHeartbeat.objects.alive(now).count()
    is_stopped = not alive and not clusters
    return Tile(
        "Workers running",
        f"{alive:,}",
        "nothing is sent" if is_stopped else f"clusters on standby: {clusters}",
        listed("messaging_workerheartbeat"),
        Level.FAIL if is_stopped else Level.OK,
    )


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """A line of the campaigns under way."""

    overview: CampaignOverview
    progress: str
    next_at: datetime | None  # its next due time, if nothing is due now
    href: str


def campaigns(*, now: datetime) -> list[CampaignRow]:
    """Campaigns under way, with their progress."""
    return [_campaign_row(each, now) for each in campaigns_under_way(at_most=AT_MOST)]


def _campaign_row(overview: CampaignOverview, now: datetime) -> CampaignRow:
    next_at, total = overview.next_due_at, overview.campaign.message_count
    of_all = "" if total is None else f" of {total:,}"
    return CampaignRow(
        overview=overview,
        progress=f"{overview.waiting}{of_all} waiting",
        next_at=next_at if next_at and next_at > now else None,
        href=listed(MESSAGES, campaign__id__exact=overview.campaign.pk),
    )


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker or a cluster, and its last sign of life."""

    name: str
    note: str
    age: str
    is_alive: bool


def workers(*, now: datetime) -> list[WorkerRow]:
    """The processes that drain the queue, or did until lately; those alive first."""
    rows = [
        WorkerRow(
            name=f"{each}",
            note=f"{each.in_flight} in flight",
            age=span(now - each.beat_at),
            is_alive=each.beat_at > now - WorkerHeartbeat.STALE_AFTER,
        )
        for each in WorkerHeartbeat.objects.all()[:AT_MOST]
    ] + [
        WorkerRow(
            name=f"{each}",
            note="with a watchdog" if each.is_watched else "without a watchdog",
            age=span(now - each.beat_at),
            is_alive=each.beat_at > now - ClusterHeartbeat.STALE_AFTER,
        )
        for each in ClusterHeartbeat.objects.order_by("-beat_at")[:AT_MOST]
    ]
    return sorted(rows, key=lambda row: not row.is_alive)


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel today and in the last seven days."""

    label: str
    today: list[str]
    week: list[str]
    chart: Chart
    href: str


def channels(*, now: datetime) -> list[ChannelRow]:
    """The figures of each channel that was used."""
    week = Period(day_of(now) - A_WEEK, day_of(now))
    rows = [_channel_row(channel, week) for channel in Channel]
    return [row for row in rows if row is not None]


def _channel_row(channel: Channel, week: Period) -> ChannelRow | None:
    report = statistics_report(week, channel=channel)
    if not report.total:
        return None
    days = [week.first + timedelta(days=number) for number in range(7)]
    tallies = {day: report.by_day.get(day, Tally()) for day in days}
    amounts = [_amount(f"{day:%a %d %b}", tally) for day, tally in tallies.items()]
    return ChannelRow(
        label=channel.label,
        today=_figures(tallies[week.last]),
        week=_figures(report.total),
        chart=chart(amounts, of="attempts"),
        href=listed(
            "routing_statisticsentry",
            channel=channel.value,
            start=week.first,
            end=week.last,
        ),
    )


def _figures(tally: Tally) -> list[str]:
    shown = (
        MessageStatus.QUEUED,
        MessageStatus.SENT,
        MessageStatus.DELIVERED,
        MessageStatus.FAILED,
        MessageStatus.BOUNCED,
    )
    counts = [f"{tally.messages(status):,}" for status in shown]
    return [*counts, delivery_rate(tally)]


def _amount(label: str, tally: Tally) -> Amount:
    refused = tally.attempts - tally.outcome(AttemptOutcome.ACCEPTED)
    return Amount(label, tally.attempts, refused)
