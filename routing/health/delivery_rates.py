"""Delivery rates from receipts: counted as they come, read when deciding.

The estimate is pure (`routing.rules.delivery_rate`); here it is applied to rows. Only
receipts count, because an acceptance says nothing about the handset. Faults of the
message or its recipient do not count, nor do carriers' limits: they are not the
provider's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from routing.models import DeliveryQuality
from routing.rules.delivery_rate import (
    Evidence,
    Score,
    add,
    decay,
    overdue_now,
    prior_from,
    score,
)
from routing.vocabulary import Channel

HALF_LIFE = timedelta(minutes=30)
OVERDUE_LOOKED_BACK = 2 * HALF_LIFE  # anything older has little weight
COUNT_OVERDUE_EVERY = timedelta(seconds=15)

# How many verdicts there are by provider, channel, country ("": all of them), and
# whether the message was delivered.
Verdicts = Counter[tuple[str, Channel, str, bool]]


def note_verdicts(verdicts: Verdicts, *, now: datetime) -> None:
    """Count first verdicts on attempts; within the caller's transaction.

    One row per provider, channel and country, locked in that order until the
    transaction ends: best called last.
    """
    for key in sorted({(provider, ch, where) for provider, ch, where, _ in verdicts}):
        _count(key, verdicts[*key, True], verdicts[*key, False], now)


def _count(
    key: tuple[str, Channel, str], successes: int, failures: int, now: datetime
) -> None:
    provider, channel, country = key
    rows = DeliveryQuality.objects.select_for_update()
    row, _ = rows.get_or_create(
        provider=provider,
        channel=channel,
        country=country,
        defaults={"updated_at": now},
    )
    row.save_evidence(
        add(
            row.evidence,
            successes=successes,
            failures=failures,
            now=now,
            half_life=HALF_LIFE,
        )
    )


# Messages without a verdict: provider, channel, country, the minute in which they were
# accepted, and how many.
OverdueReceipts = Iterable[tuple[str, Channel, str, datetime, int]]


def is_overdue_count_due(*, now: datetime) -> bool:
    """Whether it is this worker's turn; expects to lose it to another.

    A provider that has sent no receipt has no row: missing ones say nothing about it.
    """
    is_due = Q(overdue_counted_at=None) | Q(
        overdue_counted_at__lte=now - COUNT_OVERDUE_EVERY
    )
    if not DeliveryQuality.objects.filter(is_due).exists():
        return False
    with transaction.atomic():
        # In the order in which receipts lock them.
        due = DeliveryQuality.objects.select_for_update().filter(is_due)
        ordered = due.order_by("provider", "channel", "country")
        ids = list(ordered.values_list("pk", flat=True))
        rows = DeliveryQuality.objects.filter(pk__in=ids)
        return bool(rows.update(overdue_counted_at=now))


def note_overdue_receipts(overdue_receipts: OverdueReceipts) -> None:
    """Save the number of messages without a verdict beside the verdicts.

    Only where verdicts have come from before, so that a country whose carriers never
    confirm a delivery does not look like one that is down.
    """
    counts: dict[tuple[str, int, str], Counter[int]] = {}
    for provider, channel, country, minute, count in overdue_receipts:
        for where in {"", country}:
            counter = counts.setdefault((provider, channel, where), Counter())
            counter[int(minute.timestamp())] += count
    for row in DeliveryQuality.objects.all():
        counter = counts.get((row.provider, row.channel, row.country), Counter())
        overdue = sorted([minute, count] for minute, count in counter.items())
        if overdue != row.overdue:
            DeliveryQuality.objects.filter(pk=row.pk).update(overdue=overdue)


class QualityBook:
    """The delivery rates of all providers, at most `max_age` old; one per worker."""

    def __init__(self, *, max_age: timedelta = timedelta(seconds=2)) -> None:
        self._max_age = max_age
        self._read_at: datetime | None = None
        self._evidence: dict[tuple[Channel, str, str], Evidence] = {}
        self._overdue: dict[tuple[Channel, str, str], list[tuple[datetime, int]]] = {}

    def score(
        self, provider: str, channel: Channel, country: str, *, now: datetime
    ) -> Score | None:
        """The provider's estimated delivery rate; None if no receipt has come.

        With little evidence for a country it is drawn towards the provider's overall
        rate, and that towards the channel's.
        """
        self._refresh(now)
        own = self._evidence.get((channel, provider, ""))
        if own is None:
            return None
        here = (channel, provider, country)
        if here not in self._evidence:
            here = (channel, provider, "")
        local = self._evidence[here]
        whole_channel = _sum(
            evidence
            for (of, _, where), evidence in self._evidence.items()
            if of == channel and not where
        )
        ancestors = [whole_channel, own] if local is not own else [whole_channel]
        prior = prior_from(decay(each, now, HALF_LIFE) for each in ancestors)
        return score(
            decay(local, now, HALF_LIFE),
            prior_mean=prior,
            overdue=overdue_now(self._overdue[here], now, HALF_LIFE),
        )

    def _refresh(self, now: datetime) -> None:
        if self._read_at is None or abs(now - self._read_at) >= self._max_age:
            self._evidence, self._overdue = {}, {}
            for row in DeliveryQuality.objects.all():
                key = (Channel(row.channel), row.provider, row.country)
                self._evidence[key] = row.evidence
                self._overdue[key] = row.overdue_by_minute
            self._read_at = now


def _sum(parts: Iterable[Evidence]) -> Evidence:
    """The sum of several segments' evidence, decayed to the latest update."""
    parts = list(parts)
    latest = max(part.updated_at for part in parts)
    current = [decay(part, latest, HALF_LIFE) for part in parts]
    return Evidence(
        sum(part.successes for part in current),
        sum(part.failures for part in current),
        latest,
    )
