"""A campaign's audience: one message per recipient, or a reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from django.db import connection
from django.db.models import F
from django.db.models.functions import Coalesce

from messaging.content import ContentError, check_body, check_subject, render
from messaging.intake import Own, take_in_audience
from messaging.models import Campaign, CampaignMessage
from messaging.recipients import Recipient, Rejection
from routing.segments import count_segments
from routing.vocabulary import Channel

CHUNK = 1000  # rows that are looked up and inserted at once

T = TypeVar("T")


@dataclass(slots=True)
class LoadReport:
    """What became of the rows of a file."""

    accepted: int = 0
    rejected: int = 0  # with duplicates


# Called with each row that is not used, and after each chunk.
OnRejected = Callable[[Rejection], None]
OnProgress = Callable[[], None]


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

    shared = CampaignMessage(campaign=campaign, channel=campaign.channel, due_at=due_at)
    for chunk in _chunks(rows):
        owns = _owns(campaign, chunk, reject=reject)
        take_in_audience(shared, owns)
        report.accepted += len(owns)
        on_progress()
    loaded = Coalesce(F("message_count"), 0) + report.accepted
    Campaign.objects.filter(pk=campaign.pk).update(message_count=loaded)
    return report


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _owns(
    campaign: Campaign,
    chunk: Sequence[Recipient | Rejection],
    *,
    reject: OnRejected,
) -> list[Own]:
    """The chunk's messages; what is not used is rejected, in the file's order."""
    taken = _already_queued(campaign, chunk)
    channel = Channel(campaign.channel)
    owns = []
    for row in chunk:
        if isinstance(row, Rejection):
            reject(row)
            continue
        if row.address.text in taken:
            reject(Rejection(row.line, "duplicate recipient", row.address.text))
            continue
        try:
            owns.append(_own(campaign, channel, row))
        except ContentError as error:
            reject(Rejection(row.line, str(error), row.address.text))
        else:
            taken.add(row.address.text)
    return owns


def _already_queued(
    campaign: Campaign, chunk: Sequence[Recipient | Rejection]
) -> set[str]:
    addresses = [row.address.text for row in chunk if isinstance(row, Recipient)]
    if connection.vendor == "postgresql":
        return _queued_of(campaign, addresses)
    return set(
        CampaignMessage.objects.filter(
            campaign=campaign, recipient__in=addresses
        ).values_list("recipient", flat=True)
    )


def _queued_of(campaign: Campaign, addresses: list[str]) -> set[str]:
    """The same by one array, which the ORM would make a thousand parameters of."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recipient FROM messaging_campaignmessage "
            "WHERE campaign_id = %s AND recipient = ANY(%s)",
            [campaign.pk, addresses],
        )
        return {recipient for (recipient,) in cursor}


def _own(campaign: Campaign, channel: Channel, row: Recipient) -> Own:
    body = render(campaign.body, row.values)
    subject = render(campaign.subject, row.values)
    check_body(channel, body)
    check_subject(channel, subject)
    return Own(
        recipient=row.address.text,
        country=row.address.country,
        # A text that all share stands on the campaign once.
        subject=subject if subject != campaign.subject else "",
        body=body if body != campaign.body else "",
        segments=count_segments(body) if channel == Channel.SMS else 1,
    )
