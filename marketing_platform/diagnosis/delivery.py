"""What stands in the way of messages, for the doctor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Max, Min

from marketing_platform.diagnosis.findings import (
    Check,
    Finding,
    fail,
    ok,
    span,
    warn,
)
from messaging.models import (
    Campaign,
    CampaignMessage,
    ClusterHeartbeat,
    WorkerHeartbeat,
)
from messaging.queue.clock import clock_skew
from routing.health.breakers import describe_breaker
from routing.models import DeliveryReceipt, MessageDeliveryAttempt, ProviderHealth
from routing.rules.breaker import BreakerState
from routing.vocabulary import ErrorClass

SILENT_WITHIN = timedelta(hours=1)  # longer ago, a cluster was taken out of service
SKEW_LIMIT = timedelta(seconds=2)
SWEPT_WITHIN = timedelta(minutes=1)  # workers look for expired leases every second
DAY, WEEK = timedelta(days=1), timedelta(days=7)
# Bounds what a check reads, however many attempts or receipts a day has.
LATEST_ATTEMPTS = 100_000


def cluster(now: datetime) -> Finding:
    """Whether clusters live, and have a watchdog."""
    known = ClusterHeartbeat.objects.filter(beat_at__gt=now - SILENT_WITHIN)
    alive = known.alive(now)
    if silent := known.exclude(pk__in=alive.values("pk")).first():
        return fail(
            f"{silent} has shown no sign of life for {span(now - silent.beat_at)}.",
            "If you have not stopped it, restart it; `manage.py run_cluster` does so "
            "by itself.",
        )
    if unwatched := alive.filter(is_watched=False).first():
        return warn(
            f"{unwatched} has no watchdog: one killed worker may stop it for good.",
            "Start it by `python manage.py run_cluster` in place of `qcluster`.",
        )
    return ok(f"Clusters alive, each with its watchdog: {alive.count()}.")


def one_writer(now: datetime) -> Finding:
    """Whether workers stand in each other's way, as they do on SQLite."""
    count = WorkerHeartbeat.objects.alive(now).count()
    if connection.vendor == "sqlite" and count > 1:
        return warn(
            f"{count} workers share a SQLite database, which takes one writer at a "
            "time: they wait for each other.",
            "Run one worker, or move to PostgreSQL (DATABASE_URL).",
        )
    return ok("No worker stands in another's way.")


def clocks(now: datetime) -> Finding:
    """Whether this host and those of the workers agree with the database."""
    skews = {"this host": clock_skew()}
    for worker in WorkerHeartbeat.objects.alive(now):
        skews[worker.host] = worker.clock_skew
    host, skew = max(skews.items(), key=lambda each: abs(each[1]))
    if abs(skew) > SKEW_LIMIT:
        return warn(
            f"The clock of {host} is {skew.total_seconds():+.1f} s off the database's.",
            "Let both follow the same time servers (chrony, systemd-timesyncd).",
        )
    return ok("All clocks agree with the database's.")


def leases(now: datetime) -> Finding:
    """Whether messages of lost workers are recovered."""
    stuck = CampaignMessage.objects.lease_expired(now - SWEPT_WITHIN).count()
    if stuck:
        return fail(
            f"Messages whose lease ran out over {span(SWEPT_WITHIN)} ago: {stuck}. "
            "Any worker would have recovered them.",
            "Start a worker: `python manage.py run_cluster`.",
        )
    return ok("No lease has run out unnoticed.")


def unknown_outcomes(now: datetime) -> Finding:
    """Messages that may have been sent, and wait for word of it."""
    found = CampaignMessage.objects.outcome_unknown().aggregate(
        count=Count("pk"), since=Min("unknown_since")
    )
    if found["count"]:
        return warn(
            f"Messages that may have been sent, nobody knows: {found['count']}, the "
            f"oldest for {span(now - found['since'])}.",
            "They settle by receipt, look-up or deadline. If they grow in number, see "
            "that the provider's receipts reach PUBLIC_URL/webhooks/.",
        )
    return ok("Of no message in flight is the outcome unknown.")


def quarantine(now: datetime) -> Finding:
    """Messages that were taken aside because they failed their workers."""
    count = CampaignMessage.objects.quarantined().count()
    if count:
        return warn(
            f"Messages in quarantine: {count}.",
            "See the reason on each at /admin/messaging/campaignmessage/, and the "
            "error in the workers' log.",
        )
    return ok("No message is in quarantine.")


def unmapped_errors(now: datetime) -> Finding:
    """Codes with which providers refused messages or later said that they failed, and
    that our tables lack.
    """
    if codes := _codes_of(ErrorClass.UNMAPPED, now):
        return warn(
            f"Messages failed today with codes that we do not know: {codes}.",
            "Refused ones went to another provider where there was one. Look the codes "
            "up at the provider, and add them to its table in routing/providers/.",
        )
    return ok("Providers gave no unknown error code in the last day.")


def account_errors(now: datetime) -> Finding:
    """Providers that refuse our credentials or sender, or want money."""
    if codes := _codes_of(ErrorClass.ACCOUNT, now):
        return warn(
            f"Providers refused our account today: {codes}.",
            "Look at credentials, funds, sender and permissions in the provider's "
            "console; docs/providers.md names the settings.",
        )
    return ok("No provider has refused our account in the last day.")


def _codes_of(error_class: ErrorClass, now: datetime) -> str:
    """The last day's errors of a class: provider, code and how many."""
    counts: Counter[tuple[str, str]] = Counter()
    for rows, moment in (
        (MessageDeliveryAttempt.objects.order_by(), "attempted_at"),
        (DeliveryReceipt.objects.order_by(), "received_at"),
    ):
        latest = rows.aggregate(latest=Max("pk"))["latest"] or 0
        found = (
            rows.filter(
                pk__gt=latest - LATEST_ATTEMPTS,
                error_class=error_class,
                **{f"{moment}__gt": now - DAY},
            )
            .values_list("provider", "error_code")
            .annotate(count=Count("pk"))
        )
        for name, code, count in found:
            counts[name, code] += count
    return ", ".join(f"{name} {code} ({n})" for (name, code), n in counts.items())


def double_risks(now: datetime) -> Finding:
    """Messages that may lately have reached their recipient twice."""
    lately = CampaignMessage.objects.filter(double_risk_at__gt=now - WEEK)
    if count := lately.count():
        return warn(
            f"Messages of the last seven days that may have come twice: {count}.",
            "Nobody can call one back. See on each which attempts got through; if they "
            "grow in number, let the route wait for unknown outcomes.",
        )
    return ok("No message of the last seven days may have come twice.")


def breakers(now: datetime) -> Finding:
    """Providers that failed: kept out of traffic, or used for want of another."""
    rows = list(ProviderHealth.objects.all())
    failing = [row for row in rows if row.breaker.is_last_way_out]
    out = [row for row in rows if row.state != BreakerState.CLOSED]
    if failing:
        return fail(
            "Providers fail, and no other may be used in their place: "
            f"{_breakers_told([*failing, *out], now)}.",
            "Messages wait for their retries, and fail after the last: pause campaigns "
            "if it takes long. See the last errors and the providers' status pages; "
            "add a provider to the route if you have one. The next message that gets "
            "through ends this.",
        )
    if out:
        return warn(
            f"Providers that are kept out of traffic: {_breakers_told(out, now)}.",
            "A breaker closes by itself once its probes succeed. Credentials and funds "
            "want a person: see the provider's console.",
        )
    return ok("All providers are in traffic.")


def _breakers_told(rows: Iterable[ProviderHealth], now: datetime) -> str:
    return "; ".join(
        f"{row.provider} on {row.get_channel_display()} "
        f"{describe_breaker(row.breaker, now)}"
        for row in rows
    )


def paused_campaigns(now: datetime) -> Finding:
    """Campaigns that hold messages back because somebody said so."""
    paused = Campaign.objects.paused().holding_due_messages(now)
    if names := list(paused.values_list("name", flat=True)[:10]):
        return warn(
            f"Paused campaigns with messages due: {', '.join(names)}.",
            "Resume or cancel them at /admin/messaging/campaign/.",
        )
    return ok("No paused campaign holds back a message that is due.")


DELIVERY: dict[str, Check] = {
    check.__name__: check
    for check in (
        cluster,
        one_writer,
        clocks,
        leases,
        unknown_outcomes,
        quarantine,
        unmapped_errors,
        account_errors,
        double_risks,
        breakers,
        paused_campaigns,
    )
}
