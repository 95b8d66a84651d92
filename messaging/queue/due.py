"""A due message as a claim reads it: a plain value, and its campaign."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from messaging.models import Campaign, CampaignMessage, MessageFacts
from routing.vocabulary import MessageStatus


class _Columns(NamedTuple):
    """What a claim needs of a row. A model would read all of it, at ten times the
    price: most of what a claim cost.
    """

    campaign: Campaign
    pk: int
    due_at: str  # as the database writes it: a place in the lane
    recipient: str
    country: str
    subject: str
    body: str
    media_urls: list[str] | None
    segments: int
    expires_at: datetime | None
    provider: str
    attempt_count: int
    retry_count: int
    suppression_id: int | None


class DueMessage(MessageFacts, _Columns):
    """A queued message that is due, its row locked."""

    __slots__ = ()

    status = MessageStatus.QUEUED
    sent_at = finished_at = None

    @property
    def channel(self) -> int:
        """Its campaign's."""
        return self.campaign.channel


# What the steps from claim to record are given: recovery has whole rows.
AnyMessage = CampaignMessage | DueMessage
