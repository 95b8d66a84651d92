"""The providers on the front page: how each is doing, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from marketing_platform.back_office.links import ATTEMPTS, listed
from marketing_platform.diagnosis.findings import Level, span
from routing.decision.readiness import Detour, current_detours
from routing.health.status import LatestAttempt, ProviderStatus, provider_statuses
from routing.rules.breaker import BreakerState
from routing.rules.charts import Amount, Chart, chart
from routing.rules.figures import delivery_rate, milliseconds, percent, spending
from routing.statistics.minutes import MINUTE, Counts, minute_of

WINDOWS = (1, 5, 15)  # minutes
BARS = 60  # one for each minute


@dataclass(frozen=True, slots=True)
class ProviderCard:
    """A provider in words and figures."""

    status: ProviderStatus
    level: Level
    state: str
    accepted: list[tuple[str, str]]  # a time, and how many attempts were accepted
    chart: Chart
    delivered: str
    p50: str
    p95: str
    cost: str
    error: str
    error_age: str
    href: str


@dataclass(frozen=True, slots=True)
class Providers:
    """The configured or used providers, and those that are neither."""

    used: list[ProviderCard]
    idle: list[ProviderCard]


def providers(latest: Sequence[LatestAttempt], *, now: datetime) -> Providers:
    """How each provider is doing today, and in the last minutes."""
    detours = current_detours(now=now)
    cards = [
        _card(each, detours.get((each.overview.name, each.overview.channel)), now)
        for each in provider_statuses(latest, now=now)
    ]
    is_used = [bool(c.status.today or not c.status.overview.problem) for c in cards]
    return Providers(
        used=[card for card, used in zip(cards, is_used, strict=True) if used],
        idle=[card for card, used in zip(cards, is_used, strict=True) if not used],
    )


def _card(status: ProviderStatus, detour: Detour | None, now: datetime) -> ProviderCard:
    p50, p95 = status.today.response_ms(0.5, 0.95)
    last, provider = status.last_error, status.overview
    return ProviderCard(
        status=status,
        level=_level_of(status, detour),
        state="; ".join(filter(None, [provider.in_words, f"{detour or ''}"])),
        accepted=[(f"{n} min", accepted_of(status.lately(n))) for n in WINDOWS],
        chart=_minutes(status, now),
        delivered=_delivered(status),
        p50=milliseconds(p50),
        p95=milliseconds(p95),
        cost=spending(status.today),
        error=last.error if last else "",
        error_age=f"{span(now - last.attempted_at)} ago" if last else "",
        href=listed(ATTEMPTS, provider=provider.name),
    )


def accepted_of(counts: Counts) -> str:
    """How many attempts were accepted, in words."""
    if counts.attempts <= 0:
        return "no attempts"
    share = percent(counts.accepted / counts.attempts)
    return f"{counts.accepted:,} of {counts.attempts:,} ({share})"


def _delivered(status: ProviderStatus) -> str:
    """Its delivery rate, with how many messages it rests on."""
    if not status.today.settled:
        return "no receipts today"
    return f"{delivery_rate(status.today)} of {status.today.settled:,}"


def _minutes(status: ProviderStatus, now: datetime) -> Chart:
    """Corrections of earlier minutes may exceed what a minute had."""
    first = minute_of(now) - (BARS - 1) * MINUTE
    amounts = []
    for at in (first + number * MINUTE for number in range(BARS)):
        counts = status.minutes.get(at, Counts())
        bad = max(counts.not_accepted, 0)
        amounts.append(Amount(f"{at:%H:%M}", max(counts.attempts, bad), bad))
    return chart(amounts, of="attempts")


def _level_of(status: ProviderStatus, detour: Detour | None) -> Level:
    """FAIL: messages wait for it, or it gets all of them although it fails. WARN:
    others carry its traffic, it is paused, it is being tried again, or it refuses most
    attempts.
    """
    provider = status.overview
    is_blocked = detour is not None and detour.is_blocked and not provider.pause
    if is_blocked or status.is_last_way_out:
        return Level.FAIL
    lately = status.lately(WINDOWS[-1])
    is_failing = 2 * lately.accepted < lately.attempts
    is_away = bool(provider.pause) or provider.breaker.state != BreakerState.CLOSED
    return Level.WARN if is_failing or is_away or provider.problem else Level.OK
