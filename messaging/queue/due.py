"""A due message as a claim reads it: a plain value with its campaign."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from messaging.models import Campaign, CampaignMessage, MessageFacts
from routing.vocabulary import MessageStatus


class _Columns(NamedTuple):
    """The columns that a claim needs. Model instances cost ten times as much: they were
    most of the cost of a claim.
    """

    campaign: Campaign
    pk: int
    due_at: str  # in the database's own format: a place in the lane
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


# What the steps from claim to record take; recovery has model instances.
AnyMessage = CampaignMessage | DueMessage
