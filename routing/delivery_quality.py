"""Delivery rates as receipts tell them: counted as they come, read when deciding.

The estimate is pure (`routing.quality`); here it meets its rows. Only receipts count,
as an acceptance alone says nothing of the handset, and faults of the message or of its
recipient are nobody's quality, nor are carriers' caps.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from routing.models import DeliveryQuality, DeliveryReceipt
from routing.quality import Evidence, Score, add, decay, prior_from, score
from routing.vocabulary import Channel, ErrorClass, MessageStatus

HALF_LIFE = timedelta(minutes=30)
_VERDICTS = (MessageStatus.DELIVERED, MessageStatus.FAILED, MessageStatus.BOUNCED)
_NOT_THE_PROVIDERS = (
    ErrorClass.RECIPIENT,
    ErrorClass.MESSAGE,
    ErrorClass.THROTTLED,  # in a receipt: a carrier's cap
)


def note_receipt(
    receipt: DeliveryReceipt, *, channel: Channel, country: str, now: datetime
) -> None:
    """Count the first verdict on an attempt; within the caller's transaction."""
    if receipt.status not in _VERDICTS or receipt.error_class in _NOT_THE_PROVIDERS:
        return
    earlier = DeliveryReceipt.objects.filter(
        message=receipt.message_id,
        attempt_number=receipt.attempt_number,
        status__in=_VERDICTS,
    ).exclude(pk=receipt.pk)
    if earlier.exists():
        return
    is_delivered = receipt.status == MessageStatus.DELIVERED
    for where in sorted({"", country}):
        _count(receipt.provider, channel, where, is_delivered, now)


def _count(
    provider: str, channel: Channel, country: str, is_delivered: bool, now: datetime
) -> None:
    rows = DeliveryQuality.objects.select_for_update()
    row, _ = rows.get_or_create(
        provider=provider,
        channel=channel,
        country=country,
        defaults={"updated_at": now},
    )
    row.keep(
        add(
            row.evidence,
            successes=is_delivered,
            failures=not is_delivered,
            now=now,
            half_life=HALF_LIFE,
        )
    )


class QualityBook:
    """The delivery rates of all providers, at most `max_age` old; one per worker."""

    def __init__(self, *, max_age: timedelta = timedelta(seconds=2)) -> None:
        self._max_age = max_age
        self._read_at: datetime | None = None
        self._evidence: dict[tuple[Channel, str, str], Evidence] = {}

    def score(
        self, provider: str, channel: Channel, country: str, *, now: datetime
    ) -> Score | None:
        """The provider's estimated delivery rate; None when no receipt has come.

        In a country of which little is known it is drawn towards the provider's own
        rate, and that towards the channel's.
        """
        self._refresh(now)
        own = self._evidence.get((channel, provider, ""))
        if own is None:
            return None
        local = self._evidence.get((channel, provider, country), own)
        whole_channel = _sum(
            evidence
            for (of, _, where), evidence in self._evidence.items()
            if of == channel and not where
        )
        ancestors = [whole_channel, own] if local is not own else [whole_channel]
        prior = prior_from(decay(each, now, HALF_LIFE) for each in ancestors)
        return score(decay(local, now, HALF_LIFE), prior_mean=prior)

    def _refresh(self, now: datetime) -> None:
        if self._read_at is None or now - self._read_at >= self._max_age:
            self._evidence = {
                (Channel(row.channel), row.provider, row.country): row.evidence
                for row in DeliveryQuality.objects.all()
            }
            self._read_at = now


def _sum(parts: Iterable[Evidence]) -> Evidence:
    """Evidence of several segments, as it weighs when the latest was updated."""
    parts = list(parts)
    latest = max(part.updated_at for part in parts)
    current = [decay(part, latest, HALF_LIFE) for part in parts]
    return Evidence(
        sum(part.successes for part in current),
        sum(part.failures for part in current),
        latest,
    )
