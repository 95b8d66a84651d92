"""Do messages arrive? A provider may accept everything and deliver nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from marketing_platform.diagnosis.findings import Finding, fail, ok, warn
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.rules.tally import Tally, day_of
from routing.statistics.entries import read_totals
from routing.vocabulary import AttemptOutcome, ErrorClass, MessageStatus

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ENOUGH = 20  # messages with a verdict; the share of fewer says little
FEW, HARDLY_ANY = 0.5, 0.1  # shares delivered, or accepted
LOOKED_AT = 5000  # latest receipts or attempts: limits what a check reads
CODES_NAMED = 3
_ANSWERED = {AttemptOutcome.ACCEPTED, AttemptOutcome.REJECTED}


@dataclass(slots=True)
class _Record:
    """How many of a provider's latest messages succeeded, and the codes of the rest."""

    good: int = 0
    all: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, *, is_good: bool, code: str) -> None:
        self.all += 1
        self.good += is_good
        if not is_good:
            self.codes[code or "no code"] += 1

    @property
    def share(self) -> float:
        return self.good / self.all if self.all else 1.0


def deliveries(now: datetime) -> Finding:
    """Whether providers deliver what they accept, and whether they accept enough."""
    hours = {"delivered": _delivered(now), "accepted": _accepted(now)}
    found = [each for verb in hours for each in _last_hour(verb, hours[verb])]
    days = list(_since_yesterday(hours, now))
    if not found and not days:
        return ok("All providers accept and deliver most of their messages.")
    text = " ".join([*(text for text, _ in found), *days])
    remedy = (
        "Look up the codes at the provider: the sender may be unregistered, your "
        "address blocked, or the list old. You can take the provider out of the routes."
    )
    is_bad = any(share < HARDLY_ANY for _, share in found)
    return fail(text, remedy) if is_bad else warn(text, remedy)


def _last_hour(verb: str, records: dict[str, _Record]) -> Iterator[tuple[str, float]]:
    for provider, record in sorted(records.items()):
        if record.all >= ENOUGH and record.share < FEW:
            named = record.codes.most_common(CODES_NAMED)
            codes = ", ".join(f"{code} ({count})" for code, count in named)
            yield (
                f"{provider} {verb} {record.good} of {record.all} in the last hour: "
                f"{codes}.",
                record.share,
            )


def _since_yesterday(
    hours: dict[str, dict[str, _Record]], now: datetime
) -> Iterator[str]:
    """From the statistics, for providers with too little evidence in the last hour:
    they sent earlier, or a busier provider fills the rows that were read.
    """
    days: dict[str, Tally] = {}
    for key, tally in read_totals(first=day_of(now - DAY)).tallies():
        days[key.provider] = days.get(key.provider, Tally()) + tally
    for provider, tally in sorted(days.items()):
        for verb, (good, number) in _ends(tally).items():
            lately = hours[verb].get(provider)
            is_known = lately is not None and lately.all >= ENOUGH
            if not is_known and number >= ENOUGH and good < FEW * number:
                yield f"{provider} {verb} {good} of {number} since yesterday."


def _ends(tally: Tally) -> dict[str, tuple[int, int]]:
    """By verb: successes, and the total. The statistics count postponed attempts as
    refused, so that acceptance counts only if nothing at all was accepted.
    """
    accepted = tally.outcome(AttemptOutcome.ACCEPTED)
    refused = 0 if accepted else tally.outcome(AttemptOutcome.REJECTED)
    return {
        "delivered": (tally.messages(MessageStatus.DELIVERED), tally.settled),
        "accepted": (accepted, accepted + refused),
    }


def _delivered(now: datetime) -> dict[str, _Record]:
    """By receipts, counting each message once: failed if any part of it was lost."""
    rows = DeliveryReceipt.objects.filter(
        received_at__gt=now - HOUR, message__isnull=False
    ).order_by("-received_at")[:LOOKED_AT]
    ends: dict[tuple[str, int | None], str | None] = {}
    for provider, message, status, code in rows.values_list(
        "provider", "message_id", "status", "error_code"
    ):
        if status in {MessageStatus.FAILED, MessageStatus.BOUNCED}:
            ends[provider, message] = code or "no code"
        elif status == MessageStatus.DELIVERED:
            ends.setdefault((provider, message), None)
    records: dict[str, _Record] = {}
    for (provider, _), why in ends.items():
        record = records.setdefault(provider, _Record())
        record.add(is_good=why is None, code=why or "")
    return records


def _accepted(now: datetime) -> dict[str, _Record]:
    """By attempts, without those that were only postponed."""
    latest = MessageDeliveryAttempt.objects.order_by("-pk")[:LOOKED_AT]
    records: dict[str, _Record] = {}
    for provider, at, outcome, kind, code in latest.values_list(
        "provider", "attempted_at", "outcome", "error_class", "error_code"
    ):
        is_put_off = kind == ErrorClass.THROTTLED
        if at > now - HOUR and outcome in _ANSWERED and not is_put_off:
            is_good = outcome == AttemptOutcome.ACCEPTED
            records.setdefault(provider, _Record()).add(is_good=is_good, code=code)
    return records
