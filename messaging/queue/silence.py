"""Messages that their providers accepted, and of which no verdict has come."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Count
from django.db.models.functions import TruncMinute

from messaging.models import CampaignMessage
from routing.delivery_quality import (
    SILENCE_LOOKED_BACK,
    is_silence_to_be_counted,
    note_silence,
)
from routing.vocabulary import Channel

# By then half the receipts have come: what is younger would only be noise.
GRACE = timedelta(seconds=10)


def count_silence(*, now: datetime) -> None:
    """Let the providers' delivery rates know of overdue receipts, now and then.

    What it costs grows with the messages of the last hour that have no verdict.
    """
    if not is_silence_to_be_counted(now=now):
        return
    rows = (
        CampaignMessage.objects.without_verdict(
            since=now - SILENCE_LOOKED_BACK, until=now - GRACE
        )
        .order_by()
        .annotate(minute=TruncMinute("sent_at"))
        .values_list("provider", "channel", "country", "minute")
        .annotate(Count("id"))
    )
    note_silence(
        (provider, Channel(channel), country, minute, count)
        for provider, channel, country, minute, count in rows
    )
