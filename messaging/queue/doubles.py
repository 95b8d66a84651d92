"""Messages that may have reached their recipient twice. Nobody can call one back, but
it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from django.db.models import F

from messaging.models import CampaignMessage
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, MessageStatus

_GOT_THROUGH = {MessageStatus.SENT, MessageStatus.DELIVERED}
_CAME_BACK = {MessageStatus.FAILED, MessageStatus.BOUNCED}

Attempt = tuple[int, int | None]  # message and attempt number


def mark_double_risks(message_ids: Collection[int], *, now: datetime) -> None:
    """Mark those messages of which more than one attempt is taken to have got through.

    That is: a provider accepted it, or said later that it went out, and did not say
    that it failed. Within the transaction that has written the news.
    """
    if not message_ids:
        return
    attempts = Counter(message for message, _ in _got_through(message_ids))
    doubled = [message for message, count in attempts.items() if count > 1]
    CampaignMessage.objects.filter(pk__in=doubled, double_risk_at=None).update(
        double_risk_at=now
    )


def _got_through(message_ids: Collection[int]) -> set[Attempt]:
    accepted = MessageDeliveryAttempt.objects.filter(
        message__in=message_ids, outcome=AttemptOutcome.ACCEPTED
    ).values_list("message_id", "attempt_number")
    told: dict[Attempt, set[int | None]] = {}
    for message, number, status in DeliveryReceipt.objects.filter(
        message__in=message_ids,
        attempt_number__lte=F("message__attempt_count"),  # no other was made
        status__isnull=False,
    ).values_list("message_id", "attempt_number", "status"):
        told.setdefault((message, number), set()).add(status)
    delivered = {key for key, said in told.items() if MessageStatus.DELIVERED in said}
    confirmed = {key for key, said in told.items() if said & _GOT_THROUGH}
    refuted = {key for key, said in told.items() if said & _CAME_BACK}
    return (({*accepted} | confirmed) - refuted) | delivered
