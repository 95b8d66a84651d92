"""Single messages: posted by themselves, without a campaign of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from messaging.addresses import Address
from messaging.audience.insert import enqueue
from messaging.campaigns import check_route
from messaging.models import Campaign, CampaignMessage
from messaging.queue.coordination import notify_workers
from messaging.vocabulary import CampaignStatus
from routing.text.segments import count_segments
from routing.vocabulary import CampaignKind, Channel

# The recipient waits for a transactional message: it goes before every campaign.
PRIORITIES = {CampaignKind.MARKETING: 5, CampaignKind.TRANSACTIONAL: 100}
HIGHEST_OF_CAMPAIGNS = PRIORITIES[CampaignKind.TRANSACTIONAL] - 1

Lane = tuple[Channel, CampaignKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleMessage:
    """One text to one recipient; `messaging.rules.content` has checked it."""

    channel: Channel
    address: Address
    body: str
    subject: str = ""
    media_urls: Sequence[str] = ()
    kind: CampaignKind = CampaignKind.MARKETING
    scheduled_at: datetime | None = None  # None: at once
    expires_at: datetime | None = None

    @property
    def lane(self) -> Lane:
        """The lane it queues in."""
        return self.channel, self.kind


def post_messages(
    singles: Sequence[SingleMessage], *, now: datetime, owner_id: int | None = None
) -> list[CampaignMessage]:
    """Queue messages, all or none; CampaignError if a channel cannot send.

    A suppressed recipient is not refused: the message ends as Suppressed, where anyone
    can see it. An error spoils the caller's transaction, if there is one.
    """
    wanted = dict.fromkeys(single.lane for single in singles)
    for channel, kind in wanted:
        check_route(channel, kind)
    with transaction.atomic(savepoint=False):
        lanes = _lanes(wanted)
        messages = [_message(single, lanes[single.lane], now) for single in singles]
        for message in messages:
            message.owner_id = owner_id
        enqueue(messages)
        notify_workers()
    return messages


def _lanes(wanted: Iterable[Lane]) -> dict[Lane, Campaign]:
    lanes = {}
    for channel, kind in wanted:
        lanes[channel, kind], _ = Campaign.objects.get_or_create(
            channel=channel,
            kind=kind,
            is_standing=True,
            defaults={
                "name": f"Single {channel.label} messages, {kind.label.lower()}",
                "status": CampaignStatus.RUNNING,
                "priority": PRIORITIES[kind],
            },
        )
    return lanes


def _message(single: SingleMessage, lane: Campaign, now: datetime) -> CampaignMessage:
    is_sms = single.channel == Channel.SMS
    return CampaignMessage(
        campaign=lane,
        channel=single.channel,
        recipient=single.address.text,
        country=single.address.country,
        occurrence=secrets.randbits(62) + 1,
        subject=single.subject,
        body=single.body,
        media_urls=list(single.media_urls),
        segments=count_segments(single.body) if is_sms else 1,
        due_at=single.scheduled_at or now,
        expires_at=single.expires_at,
    )
