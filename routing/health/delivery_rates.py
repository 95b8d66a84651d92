"""Delivery rates as receipts tell them: counted as they come, read when deciding.

The estimate is pure (`routing.rules.delivery_rate`); here it meets its rows. Only
receipts count, as an acceptance alone says nothing of the handset, and faults of the
message or of its recipient are nobody's quality, nor are carriers' caps.
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
OVERDUE_LOOKED_BACK = 2 * HALF_LIFE  # what is older weighs little
COUNT_SILENCE_EVERY = timedelta(seconds=15)

# For and against: how many verdicts there are for a provider, channel and country ("":
# all of them), and whether it delivered.
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


# Messages without a verdict: provider, channel, country, the minute they were accepted
# in, and how many.
Silence = Iterable[tuple[str, Channel, str, datetime, int]]


def is_overdue_count_due(*, now: datetime) -> bool:
    """Whether it is this worker's turn; expects to lose it to another.

    A provider without a receipt so far has no row: its silence says nothing.
    """
    is_due = Q(overdue_counted_at=None) | Q(
        overdue_counted_at__lte=now - COUNT_SILENCE_EVERY
    )
    with transaction.atomic():
        # Several rows are locked in the order in which receipts lock them.
        due = DeliveryQuality.objects.select_for_update().filter(is_due)
        ordered = due.order_by("provider", "channel", "country")
        ids = list(ordered.values_list("pk", flat=True))
        rows = DeliveryQuality.objects.filter(pk__in=ids)
        return bool(rows.update(overdue_counted_at=now))


def note_overdue_receipts(silence: Silence) -> None:
    """Keep what has no verdict yet beside the verdicts.

    It counts where verdicts have come from before, so that a country whose carriers
    never confirm a delivery is not taken for one that is down.
    """
    counts: dict[tuple[str, int, str], Counter[int]] = {}
    for provider, channel, country, minute, count in silence:
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
        self._silence: dict[tuple[Channel, str, str], list[tuple[datetime, int]]] = {}

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
            overdue=overdue_now(self._silence[here], now, HALF_LIFE),
        )

    def _refresh(self, now: datetime) -> None:
        if self._read_at is None or abs(now - self._read_at) >= self._max_age:
            self._evidence, self._silence = {}, {}
            for row in DeliveryQuality.objects.all():
                key = (Channel(row.channel), row.provider, row.country)
                self._evidence[key], self._silence[key] = row.evidence, row.silence
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
