"""Campaigns: checked, filled with recipients and launched, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from django.db import transaction
from django.db.models import QuerySet

from messaging.content import (
    ContentError,
    check_body,
    check_fields,
    check_media,
    check_subject,
    fields_of,
    is_unicode,
    render,
)
from messaging.models import Campaign, CampaignMessage
from messaging.queue.wakeup import notify_workers
from messaging.recipients import Recipient, RecipientFile, Rejection
from messaging.vocabulary import CampaignStatus
from routing.planner import active_routes
from routing.providers.registry import registry
from routing.segments import count_segments
from routing.vocabulary import CampaignKind, Channel, MessageStatus

CHUNK = 1000  # rows that are looked up and inserted at once

T = TypeVar("T")


class CampaignError(ValueError):
    """The campaign cannot go out as it is; the text says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignText:
    """What a campaign says, on which channel, and when (None: at once)."""

    name: str
    channel: Channel
    body: str
    subject: str = ""
    media_urls: Sequence[str] = ()
    kind: CampaignKind = CampaignKind.MARKETING
    scheduled_at: datetime | None = None

    @property
    def is_personal(self) -> bool:
        """Whether each recipient gets a text of their own."""
        return bool(fields_of(self.body) or fields_of(self.subject))


@dataclass(slots=True)
class LoadReport:
    """What became of the rows of a file."""

    accepted: int = 0
    rejected: int = 0  # with duplicates


# Called with each row that is not used, and after each chunk.
OnRejected = Callable[[Rejection], None]
OnProgress = Callable[[], None]


def send_campaign(
    text: CampaignText,
    recipients: RecipientFile,
    *,
    now: datetime,
    on_rejected: OnRejected,
    on_progress: OnProgress = lambda: None,
) -> tuple[Campaign, LoadReport]:
    """Put a campaign together from a file and launch it.

    All in one transaction: when anything is wrong, CampaignError or RecipientFileError
    leaves the database as it was.
    """
    check_text(text, columns=recipients.columns, now=now)
    check_route(text.channel, text.kind)
    with transaction.atomic():
        campaign = Campaign.objects.create(
            name=text.name,
            channel=text.channel,
            kind=text.kind,
            subject=text.subject,
            body=text.body,
            media_urls=list(text.media_urls),
            scheduled_at=text.scheduled_at,
        )
        report = add_recipients(
            campaign,
            recipients,
            due_at=text.scheduled_at or now,
            on_rejected=on_rejected,
            on_progress=on_progress,
        )
        if not report.accepted:
            raise CampaignError(
                f"No row of {recipients.path} can be used; nothing was sent."
            )
        launch_campaign(campaign, now=now)
    return campaign, report


def check_text(text: CampaignText, *, columns: Sequence[str], now: datetime) -> None:
    """Refuse a text that could not be sent, before any recipient is read."""
    if not text.name.strip() or len(text.name) > 200:
        raise CampaignError("A campaign needs a name of at most 200 characters.")
    if "\0" in text.name or not is_unicode(text.name):
        raise CampaignError("The name has characters that are not UTF-8 text.")
    if text.scheduled_at is not None and text.scheduled_at <= now:
        raise CampaignError(
            f"The schedule {text.scheduled_at.isoformat()} is in the past."
        )
    try:
        check_body(text.channel, text.body)
        check_subject(text.channel, text.subject)
        check_media(text.channel, text.media_urls)
        check_fields(text.body, columns)
        check_fields(text.subject, columns)
    except ContentError as error:
        raise CampaignError(str(error)) from error


def check_route(channel: Channel, kind: CampaignKind) -> None:
    """Refuse a channel that has no route, or whose providers cannot send."""
    routes = [
        route
        for route in active_routes()
        if route.channel == channel and route.scope.campaign_kind in (None, kind)
    ]
    if not routes:
        raise CampaignError(
            f"There is no active route for {channel.label}. Add one in the admin, or "
            "run `manage.py loaddata default_routes`."
        )
    for name in dict.fromkeys(name for route in routes for name in route.in_use):
        if problem := registry.problem_with(name):
            raise CampaignError(problem)


def add_recipients(
    campaign: Campaign,
    rows: Iterable[Recipient | Rejection],
    *,
    due_at: datetime,
    on_rejected: OnRejected,
    on_progress: OnProgress = lambda: None,
) -> LoadReport:
    """Queue one message per recipient; memory is bounded by the chunk."""
    report = LoadReport()

    def reject(rejection: Rejection) -> None:
        report.rejected += 1
        on_rejected(rejection)

    for chunk in _chunks(rows):
        messages = _messages(campaign, chunk, due_at=due_at, reject=reject)
        CampaignMessage.objects.bulk_create(messages)
        report.accepted += len(messages)
        on_progress()
    return report


def launch_campaign(campaign: Campaign, *, now: datetime) -> None:
    """Let the campaign's messages leave as they fall due."""
    campaign.status, campaign.launched_at = CampaignStatus.RUNNING, now
    campaign.save(update_fields=["status", "launched_at"])
    notify_workers()


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _messages(
    campaign: Campaign,
    chunk: Sequence[Recipient | Rejection],
    *,
    due_at: datetime,
    reject: OnRejected,
) -> list[CampaignMessage]:
    """The chunk's messages; what is not used is rejected, in the file's order."""
    taken = _already_queued(campaign, chunk)
    messages = []
    for row in chunk:
        if isinstance(row, Rejection):
            reject(row)
            continue
        if row.address.text in taken:
            reject(Rejection(row.line, "duplicate recipient", row.address.text))
            continue
        try:
            messages.append(_message(campaign, row, due_at))
        except ContentError as error:
            reject(Rejection(row.line, str(error), row.address.text))
        else:
            taken.add(row.address.text)
    return messages


def _already_queued(
    campaign: Campaign, chunk: Sequence[Recipient | Rejection]
) -> set[str]:
    addresses = [row.address.text for row in chunk if isinstance(row, Recipient)]
    return set(
        CampaignMessage.objects.filter(
            campaign=campaign, recipient__in=addresses
        ).values_list("recipient", flat=True)
    )


def _message(campaign: Campaign, row: Recipient, due_at: datetime) -> CampaignMessage:
    channel = Channel(campaign.channel)
    body = render(campaign.body, row.values)
    subject = render(campaign.subject, row.values)
    check_body(channel, body)
    check_subject(channel, subject)
    return CampaignMessage(
        campaign=campaign,
        channel=channel,
        recipient=row.address.text,
        country=row.address.country,
        # A text that all share stands on the campaign once.
        body=body if body != campaign.body else "",
        subject=subject if subject != campaign.subject else "",
        segments=count_segments(body) if channel == Channel.SMS else 1,
        due_at=due_at,
    )


def pause_campaigns(campaigns: QuerySet[Campaign]) -> int:
    """Hold back what has not left; returns how many campaigns were running."""
    return campaigns.filter(status=CampaignStatus.RUNNING).update(
        status=CampaignStatus.PAUSED
    )


def resume_campaigns(campaigns: QuerySet[Campaign]) -> int:
    """Let paused campaigns go on; returns how many were paused."""
    resumed = campaigns.filter(status=CampaignStatus.PAUSED).update(
        status=CampaignStatus.RUNNING
    )
    notify_workers()
    return resumed


def cancel_campaigns(campaigns: QuerySet[Campaign], *, now: datetime) -> int:
    """Withdraw what has not left, for good; returns how many campaigns that was.

    A call that is under way ends as it may: the provider may have the message. No other
    provider is called after it.
    """
    with transaction.atomic():
        open_campaigns = campaigns.filter(
            status__in=[
                CampaignStatus.DRAFT,
                CampaignStatus.RUNNING,
                CampaignStatus.PAUSED,
            ]
        )
        ids = list(open_campaigns.values_list("pk", flat=True))
        cancelled = Campaign.objects.filter(pk__in=ids).update(
            status=CampaignStatus.CANCELLED, completed_at=now
        )
        CampaignMessage.objects.queued().filter(campaign__in=ids).update(
            status=MessageStatus.CANCELLED,
            status_reason="The campaign was cancelled.",
            finished_at=now,
        )
    return cancelled
