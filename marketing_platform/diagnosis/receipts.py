"""Do receipts arrive? Without them, failed deliveries go unnoticed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from marketing_platform.diagnosis.deliveries import deliveries
from marketing_platform.diagnosis.findings import (
    Check,
    Finding,
    Level,
    fail,
    ok,
    span,
    warn,
)
from messaging.models import CampaignMessage
from routing.models import DeliveryReceipt
from routing.providers.registry import registry
from routing.receipts.inbox import inbox_status
from routing.receipts.webhook_counts import Calls, webhook_calls
from routing.vocabulary import WebhookOutcome

DAY = timedelta(days=1)
# By then every provider has reported on a message, unless its handset is off.
RECEIPTS_WITHIN = timedelta(minutes=15)
CERTAINLY_MISSING = 10  # messages without receipts
NOISE = 0.05  # share of a provider's calls that may be forged, if others are accepted
STRANGERS_AT_MOST = 20  # calls for unknown provider names: scanners make a few
LOOKED_AT = 10_000  # latest messages or receipts: limits what a check reads
DAWN = datetime.min.replace(tzinfo=UTC)
ACCEPTED = {WebhookOutcome.ACCEPTED, WebhookOutcome.INBOUND}
REFUSED = {
    WebhookOutcome.FORGED,
    WebhookOutcome.MALFORMED,
    WebhookOutcome.TOO_LARGE,
    WebhookOutcome.UNKNOWN_PROVIDER,
    WebhookOutcome.WRONG_METHOD,
    WebhookOutcome.TURNED_AWAY,
    WebhookOutcome.FAILED,
}
SEE_PUBLIC_URL = (
    "Set PUBLIC_URL to exactly the URL that providers call, and check that its proxy "
    "forwards `/webhooks/` and that the signing keys are the provider's: "
    "docs/providers.md."
)


def webhook_refusals(now: datetime) -> Finding:
    """Whether webhook calls were refused in the last day, and how often."""
    calls = webhook_calls(since=now - DAY)
    providers = sorted({each.kind.provider for each in calls})
    found = [_refusals(each, calls, now) for each in providers]
    texts = [finding.text for finding in found if finding.level != Level.OK]
    if not texts:
        return ok("No webhook call of the last day was refused wrongly.")
    level = Level.FAIL if any(f.level == Level.FAIL for f in found) else Level.WARN
    return Finding(level, " ".join(texts), SEE_PUBLIC_URL)


def _refusals(provider: str, calls: Iterable[Calls], now: datetime) -> Finding:
    own = [each for each in calls if each.kind.provider == provider]
    refused = [each for each in own if each.kind.outcome in REFUSED]
    accepted = sum(each.calls for each in own if each.kind.outcome in ACCEPTED)
    count = sum(each.calls for each in refused)
    strays = [each for each in own if each.kind.outcome == WebhookOutcome.DISAGREES]
    text = _in_words(provider, [*refused, *strays], now)
    if count and not accepted and provider:
        return fail(text, SEE_PUBLIC_URL)
    is_noise = not provider and count < STRANGERS_AT_MOST
    if strays or (count > NOISE * accepted and not is_noise):
        return warn(text, SEE_PUBLIC_URL)
    return ok("")


def _in_words(provider: str, refused: Iterable[Calls], now: datetime) -> str:
    """`Webhook calls of TwilioSMS refused: 20,420 no valid signature, last ...`"""
    who = provider or "unknown providers"
    kinds = "; ".join(
        f"{each.calls:,} {each.kind.outcome.label.lower()}, last at "
        f"{each.last_at:%H:%M:%S} UTC ({span(now - each.last_at)} ago)"
        + (f": {each.last_detail.rstrip('.')}" if each.last_detail else "")
        for each in refused
    )
    return f"Webhook calls of {who} refused: {kinds}."


@dataclass(frozen=True, slots=True)
class WithoutReceipts:
    """A provider's messages since its last receipt that have no receipt."""

    provider: str
    messages: int
    since: datetime


def providers_without_receipts(now: datetime) -> list[WithoutReceipts]:
    """Providers that accepted messages a while ago and have sent no receipt since."""
    heard_at = _last_calls(now)
    unreported = [
        each for each in _sent_lately(now) if each[1] > heard_at.get(each[0], DAWN)
    ]
    if not unreported:
        return []
    heard_at |= _last_receipts()  # also those from before calls were counted
    times: dict[str, list[datetime]] = {}
    for provider, sent_at in unreported:
        if sent_at > heard_at.get(provider, DAWN):
            times.setdefault(provider, []).append(sent_at)
    return [
        WithoutReceipts(each, len(at), min(at)) for each, at in sorted(times.items())
    ]


def _sent_lately(now: datetime) -> list[tuple[str, datetime]]:
    """The latest messages that should have a verdict but have none: provider, time."""
    messages = CampaignMessage.objects.without_verdict(
        since=now - DAY, until=now - RECEIPTS_WITHIN
    )
    reporting = [
        name
        for name in registry.names()
        if registry.provider_class(name).sends_receipts()
    ]
    latest = messages.order_by("-sent_at").values_list("provider", "sent_at")
    return [(name, at) for name, at in latest[:LOOKED_AT] if at and name in reporting]


def _last_calls(now: datetime) -> dict[str, datetime]:
    return {
        each.kind.provider: each.last_at
        for each in webhook_calls(since=now - DAY)
        if each.kind.outcome == WebhookOutcome.ACCEPTED
    }


def _last_receipts() -> dict[str, datetime]:
    """By provider, among the latest receipts of all."""
    latest = DeliveryReceipt.objects.order_by("-received_at")[:LOOKED_AT]
    times: dict[str, datetime] = {}
    for provider, at in latest.values_list("provider", "received_at"):
        times.setdefault(provider, at)
    return times


def missing_receipts(now: datetime) -> Finding:
    """Whether receipts arrive from each provider that has them."""
    found = providers_without_receipts(now)
    if not found:
        return ok("Receipts arrive.")
    text = " ".join(
        f"{each.provider}: {each.messages:,} sent, no receipt for "
        f"{(now - each.since).total_seconds() / 60:,.0f} minutes."
        for each in found
    )
    remedy = (
        "Check at /admin/routing/webhookcount/ whether it calls, and with what "
        f"outcome; without any call it does not reach us. {SEE_PUBLIC_URL}"
    )
    is_sure = any(each.messages >= CERTAINLY_MISSING for each in found)
    return fail(text, remedy) if is_sure else warn(text, remedy)


def receipts_set_aside(now: datetime) -> Finding:
    """Whether some receipts could not be applied."""
    count = inbox_status(at_most=LOOKED_AT).set_aside
    if not count:
        return ok("No receipt is set aside.")
    return warn(
        f"Receipts that could not be applied and have no effect: {count:,}.",
        "See the reasons at /admin/routing/waitingreceipt/, where you can try again.",
    )


RECEIPTS: dict[str, Check] = {
    check.__name__: check
    for check in (webhook_refusals, missing_receipts, receipts_set_aside, deliveries)
}
