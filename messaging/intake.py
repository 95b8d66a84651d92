"""Taking messages in."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from messaging.models import CampaignMessage
from messaging.standing import count_taken_in
from routing.statistics import keep
from routing.tally import TallySheet


def take_in(messages: Sequence[CampaignMessage]) -> None:
    """Queue new messages, and count them."""
    sheet = TallySheet()
    with transaction.atomic():
        count_taken_in(sheet, CampaignMessage.objects.bulk_create(messages))
        keep(sheet)
