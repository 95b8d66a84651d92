"""Load a campaign's audience: one message per recipient, or a reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple, TypeVar

from django.db import connection
from django.db.models import F
from django.db.models.functions import Coalesce

from messaging.audience.insert import RecipientRow, enqueue_audience
from messaging.audience.recipients import Recipient, Rejection
from messaging.models import Campaign, CampaignMessage
from messaging.rules.content import ContentError
from messaging.rules.wording import Wording

CHUNK = 2000  # rows looked up and inserted at once
CHUNK_TEXT = 8_000_000  # the most characters of text in a chunk

T = TypeVar("T")


@dataclass(slots=True)
class LoadReport:
    """How many rows were accepted and rejected."""

    accepted: int = 0
    rejected: int = 0  # including duplicates
    blanks: Counter[str] = field(default_factory=Counter)  # accepted, by field


class Draft(NamedTuple):
    """A message and the row that it is made from."""

    row: Recipient
    own: RecipientRow
    blanks: Sequence[str]


# Called with each row that is not used, and after each chunk.
OnRejected = Callable[[Rejection], None]
OnProgress = Callable[[], None]
Chunk = list[Draft | Rejection]


def drafts_of(
    wording: Wording, rows: Iterable[Recipient | Rejection]
) -> ReadAhead[Chunk]:
    """Each row's message, or why there is none, in chunks.

    This makes no queries: rows may be drafted before a transaction is open.
    """
    return ReadAhead(_chunks(wording, rows))


def add_recipients(
    campaign: Campaign,
    chunks: ReadAhead[Chunk],
    *,
    due_at: datetime,
    on_rejected: OnRejected,
    on_progress: OnProgress = lambda: None,
) -> LoadReport:
    """Queue one message per recipient; memory is bounded by the chunk."""
    report = LoadReport()
    shared = CampaignMessage(
        campaign=campaign,
        channel=campaign.channel,
        due_at=due_at,
        owner_id=campaign.owner_id,
    )
    for chunk in chunks:
        rows = []
        for one in without_duplicates(chunk, lambda to: _already_queued(campaign, to)):
            if isinstance(one, Rejection):
                report.rejected += 1
                on_rejected(one)
            else:
                rows.append(one.own)
                if one.blanks:
                    report.blanks.update(one.blanks)
        enqueue_audience(shared, rows, while_waiting=chunks.read_ahead)
        report.accepted += len(rows)
        on_progress()
    loaded = Coalesce(F("message_count"), 0) + report.accepted
    Campaign.objects.filter(pk=campaign.pk).update(message_count=loaded)
    return report


class ReadAhead(Iterator[T]):
    """An iterator that can make its next item ahead of time."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._made: list[T] = []

    def read_ahead(self) -> None:
        """Make the next item, if there is one."""
        self._made += islice(self._items, 1 - len(self._made))

    def __next__(self) -> T:
        return self._made.pop() if self._made else next(self._items)


def _chunks(wording: Wording, rows: Iterable[Recipient | Rejection]) -> Iterator[Chunk]:
    """Chunks small enough for memory and for the database."""
    chunk: Chunk = []
    size = 0
    for row in rows:
        draft = row if isinstance(row, Rejection) else _draft(wording, row)
        chunk.append(draft)
        if isinstance(draft, Draft):
            size += len(draft.own.body)
        if len(chunk) >= CHUNK or size >= CHUNK_TEXT:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _draft(wording: Wording, row: Recipient) -> Draft | Rejection:
    try:
        subject, body, segments, blanks = wording.to(row.values)
    except ContentError as error:
        return row.rejected(str(error))
    to, country = row.address.text, row.address.country
    return Draft(row, RecipientRow(to, country, subject, body, segments), blanks)


def without_duplicates(
    chunk: Sequence[Draft | Rejection], find_taken: Callable[[list[str]], set[str]]
) -> Iterator[Draft | Rejection]:
    """The same rows in the same order; recipients with a message are rejected."""
    taken = find_taken([row.own.recipient for row in chunk if isinstance(row, Draft)])
    for row in chunk:
        if isinstance(row, Rejection):
            yield row
        elif row.own.recipient in taken:
            yield row.row.rejected("duplicate recipient")
        else:
            taken.add(row.own.recipient)
            yield row


def _already_queued(campaign: Campaign, addresses: list[str]) -> set[str]:
    if connection.vendor == "postgresql":
        return _queued_of(campaign, addresses)
    return set(
        CampaignMessage.objects.filter(
            campaign=campaign, recipient__in=addresses
        ).values_list("recipient", flat=True)
    )


def _queued_of(campaign: Campaign, addresses: list[str]) -> set[str]:
    """The same with one array; the ORM would pass thousands of parameters."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recipient FROM messaging_campaignmessage "
            "WHERE campaign_id = %s AND recipient = ANY(%s)",
            [campaign.pk, addresses],
        )
        return {recipient for (recipient,) in cursor}
