"""A campaign's audience: one message per recipient, or a reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import NamedTuple, TypeVar

from django.db import connection
from django.db.models import F
from django.db.models.functions import Coalesce

from messaging.content import ContentError, check_body, check_subject, render
from messaging.intake import Own, take_in_audience
from messaging.models import Campaign, CampaignMessage
from messaging.recipients import Recipient, Rejection
from routing.segments import count_segments
from routing.vocabulary import Channel

CHUNK = 2000  # rows that are looked up and inserted at once

T = TypeVar("T")


@dataclass(slots=True)
class LoadReport:
    """What became of the rows of a file."""

    accepted: int = 0
    rejected: int = 0  # with duplicates


class Draft(NamedTuple):
    """A message, and the line that it is made of."""

    line: int
    own: Own


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
    shared = CampaignMessage(campaign=campaign, channel=campaign.channel, due_at=due_at)
    chunks = ReadAhead(_chunks(_drafted(campaign, rows)))
    for chunk in chunks:
        owns = []
        for one in _without_duplicates(campaign, chunk):
            if isinstance(one, Rejection):
                report.rejected += 1
                on_rejected(one)
            else:
                owns.append(one)
        take_in_audience(shared, owns, meanwhile=chunks.read_ahead)
        report.accepted += len(owns)
        on_progress()
    loaded = Coalesce(F("message_count"), 0) + report.accepted
    Campaign.objects.filter(pk=campaign.pk).update(message_count=loaded)
    return report


class ReadAhead(Iterator[T]):
    """An iterator that makes its next item before it is asked for, when told to."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._made: list[T] = []

    def read_ahead(self) -> None:
        """Make the next item, if there is one."""
        self._made += islice(self._items, 1 - len(self._made))

    def __next__(self) -> T:
        return self._made.pop() if self._made else next(self._items)


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _drafted(
    campaign: Campaign, rows: Iterable[Recipient | Rejection]
) -> Iterator[Draft | Rejection]:
    """Each row's message, or why there is none. Asks the database nothing."""
    channel = Channel(campaign.channel)
    for row in rows:
        if isinstance(row, Rejection):
            yield row
            continue
        try:
            yield Draft(row.line, _own(campaign, channel, row))
        except ContentError as error:
            yield Rejection(row.line, str(error), row.address.text)


def _without_duplicates(
    campaign: Campaign, chunk: Sequence[Draft | Rejection]
) -> Iterator[Own | Rejection]:
    """The same, in the file's order; whoever has a message already is rejected."""
    taken = _already_queued(
        campaign, [row.own.recipient for row in chunk if isinstance(row, Draft)]
    )
    for row in chunk:
        if isinstance(row, Rejection):
            yield row
        elif row.own.recipient in taken:
            yield Rejection(row.line, "duplicate recipient", row.own.recipient)
        else:
            taken.add(row.own.recipient)
            yield row.own


def _already_queued(campaign: Campaign, addresses: list[str]) -> set[str]:
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
